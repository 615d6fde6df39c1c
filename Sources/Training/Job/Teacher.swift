import Foundation

/// A model that answers prompts over an OpenAI-compatible API, and whose answers are learned.
///
/// As the report distils R1: the student is trained on text that the teacher wrote (DeepSeek-V3
/// report, §5.1), so nothing but text crosses between the two, and any teacher will do.
public struct Teacher: Codable, Sendable, Hashable {
    /// The endpoint, up to and with `/v1`, as `http://127.0.0.1:8080/v1`.
    public var url = ""
    /// The name that the endpoint knows the model by.
    public var model = ""
    /// Files of prompts: text files (a prompt per line) and JSONL files.
    public var prompts: [String] = []
    /// Answers to each prompt.
    /// - Unit: answers
    public var samples = 1
    /// Longest answer.
    /// - Unit: tokens
    public var maxTokens = 256
    /// Temperature of sampling; 0 takes the likeliest token.
    public var temperature = 0.7
    /// Whether to ask as a chat instead of continuing the prompt.
    public var chat = false
    /// The variable of the environment that holds the key, if the endpoint wants one.
    public var keyVariable = "OPENAI_API_KEY"
    /// How long one answer may take.
    /// - Unit: seconds
    public var timeoutSeconds = 120.0

    /// The defaults.
    public init() {}
}

extension Teacher: FileKeys {
    static let title = "a teacher"
    static let required = ["url", "model", "prompts"]

    func validate() throws {
        guard let address = URL(string: url), ["http", "https"].contains(address.scheme ?? ""),
            address.host() != nil
        else { throw TrainingError.job("teacher.url", fact: "\(url) is no http address") }
        guard !prompts.isEmpty else {
            throw TrainingError.job("teacher.prompts", fact: "names no file")
        }
        for (name, value) in [("samples", samples), ("maxTokens", maxTokens)] {
            guard value >= 1 else {
                throw TrainingError.notPositive("teacher.\(name)", value: value)
            }
            guard value <= 1 << 20 else {
                throw TrainingError.job(
                    "teacher.\(name)", fact: "is \(value): it must be at most \(1 << 20)")
            }
        }
        guard temperature >= 0, temperature.isFinite, timeoutSeconds > 0 else {
            throw TrainingError.job(
                "teacher",
                fact: "has temperature \(temperature) and timeoutSeconds "
                    + "\(timeoutSeconds): neither may be negative")
        }
    }
}

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
