import Foundation

/// What a teacher was asked and said: a line of JSONL each, written as it comes, so that a run that
/// is stopped asks only for what is missing.
public struct TeacherRecording {
    /// One question that is not answered yet.
    public struct Question: Sendable {
        /// The text to continue or to answer.
        public let prompt: String
        /// Which answer to it, from 0: its seed.
        public let sample: Int
    }

    private struct Line: Codable {
        var text: String
        var prompt: String
        var sample: Int
    }

    private let path: String
    private let handle: FileHandle
    /// What is still to be asked, in order.
    public let open: [Question]

    /// Reads the prompts and what was answered before.
    ///
    /// - Parameter field: The key of a JSONL prompt's text.
    public init(_ teacher: Teacher, field: String, path: String) throws {
        self.path = path
        let files = FileManager.default
        try OutputFolder.make(
            URL(filePath: path).deletingLastPathComponent().path(percentEncoded: false),
            key: "output")
        var answered: Set<String> = []
        var kept = Data()
        if let data = files.contents(atPath: path) {
            // A line that was cut short by the end of a run is asked for again.
            for line in data.split(separator: UInt8(ascii: "\n")) {
                guard let known = try? JSONDecoder().decode(Line.self, from: Data(line)) else {
                    continue
                }
                answered.insert("\(known.sample) \(known.prompt)")
                kept += line + [UInt8(ascii: "\n")]
            }
        }
        try kept.write(to: URL(filePath: path), options: .atomic)
        handle = try FileHandle(forWritingTo: URL(filePath: path))
        try handle.seekToEnd()
        let prompts = try teacher.prompts.flatMap {
            try TokenFile.documents(of: $0, field: field, linesAreDocuments: true)
        }.filter { !$0.isEmpty }
        guard !prompts.isEmpty else {
            throw TrainingError.missingText(teacher.prompts.joined(separator: ", "))
        }
        open = prompts.flatMap { prompt in
            (0 ..< teacher.samples).map { Question(prompt: prompt, sample: $0) }
        }.filter { !answered.contains("\($0.sample) \($0.prompt)") }
    }

    /// Keeps an answer.
    public func add(_ answer: String, to question: Question) throws {
        let line = Line(
            text: question.prompt + answer, prompt: question.prompt, sample: question.sample)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        do {
            try handle.write(contentsOf: encoder.encode(line) + Data([UInt8(ascii: "\n")]))
        } catch {
            throw TrainingError.tokenFile(path, fact: "cannot be written: \(error)")
        }
    }
}
