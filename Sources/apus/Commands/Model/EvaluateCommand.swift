import ArgumentParser
import Checkpoints
import Encoding
import Foundation
import Language
import Models
import Tensors

/// `apus evaluate`: how well a model predicts a text.
struct EvaluateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate",
        abstract: "Computes loss, perplexity and logits of a text, and how often MTP agrees.",
        discussion: """
            Examples:
              apus evaluate --model cluster/models/stories-fp8 --text story.txt
              apus evaluate --model DIR --tokens ids.txt --logits logits.safetensors --json

            Loss is the mean negative log-likelihood of the next token, in nats.
            """)

    @OptionGroup var arguments: ModelArguments

    @Option(help: "A text file.")
    var text: String?

    @Option(help: "A file of token ids, separated by white space.")
    var tokens: String?

    @Option(help: "Write all logits, [tokens, vocab] f32, to this safetensors file.")
    var logits: String?

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard (text == nil) != (tokens == nil) else {
            throw ValidationError("give either --text or --tokens")
        }
    }

    func run() throws {
        let report = try reporting { try evaluate() }
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            print(String(decoding: try encoder.encode(report), as: UTF8.self))
        } else {
            print(String(format: "loss        %.4f", report.loss))
            print(String(format: "perplexity  %.4f", report.perplexity))
            if let agreement = report.mtpAgreement {
                print(String(format: "mtp agrees  %.1f%%", agreement * 100))
            }
            print("tokens      \(report.tokens)")
        }
    }

    private func evaluate() throws -> EvaluationReport {
        let ids = try read()
        let loaded = try arguments.load()
        var evaluation = TextEvaluation()
        var file: LogitsFile?
        if let logits {
            file = try LogitsFile(
                path: logits, rows: ids.count,
                columns: loaded.model.configuration.vocabularySize)
        }
        try evaluation.show(
            ids, to: loaded.model, cache: loaded.cache(tokens: ids.count),
            logits: { try file?.append($0) })
        try file?.finish()
        return EvaluationReport(
            tokens: ids.count, loss: evaluation.loss, perplexity: exp(evaluation.loss),
            mtpAgreement: evaluation.draftAgreement)
    }

    /// The ids to show.
    private func read() throws -> [Int] {
        if let text {
            let tokenizer = try Tokenizer(directory: URL(filePath: arguments.model))
            return tokenizer.encode(try readText(text))
        }
        let content = try readText(tokens ?? "")
        return try content.split(whereSeparator: \.isWhitespace).map { word in
            guard let id = Int(word) else {
                throw CheckpointError.file(
                    tokens ?? "", fact: "\(word.prefix(40)) is not a token id")
            }
            return id
        }
    }
}

/// Reads a UTF-8 file; bytes that are not UTF-8 become U+FFFD.
func readText(_ path: String) throws -> String {
    let data = try WholeFile.read(path, limit: 1 << 30) {
        CheckpointError.file(path, fact: "\($0)")
    }
    return String(decoding: data, as: UTF8.self)
}

/// What `apus evaluate --json` prints.
struct EvaluationReport: Encodable {
    let tokens: Int
    let loss: Double
    let perplexity: Double
    let mtpAgreement: Double?
}

/// A safetensors file of one tensor, `logits`, written row by row and named when it is whole.
struct LogitsFile {
    private let path: String
    private let file: FileHandle

    init(path: String, rows: Int, columns: Int) throws {
        self.path = path
        try Self.refuseFolder(path)
        guard FileManager.default.createFile(atPath: path + ".part", contents: nil),
            let file = FileHandle(forWritingAtPath: path + ".part")
        else { throw CheckpointError.file(path, fact: "cannot be written") }
        self.file = file
        var header =
            #"{"logits":{"dtype":"F32","shape":[\#(rows),\#(columns)],"#
            + #""data_offsets":[0,\#(rows * columns * 4)]}}"#
        header += String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
        let length = UInt64(header.utf8.count)
        try file.write(contentsOf: (0 ..< 8).map { UInt8(truncatingIfNeeded: length >> ($0 * 8)) })
        try file.write(contentsOf: Array(header.utf8))
    }

    /// What is replaced is removed, and a folder would go with all in it.
    private static func refuseFolder(_ path: String) throws {
        let attributes = try? FileManager.default.attributesOfItem(atPath: path)
        if attributes?[.type] as? FileAttributeType == .typeDirectory {
            throw CheckpointError.file(path, fact: "is a folder; --logits names a file")
        }
    }

    func append(_ rows: Tensor) throws { try file.write(contentsOf: rows.byteArray) }

    func finish() throws {
        try file.close()
        try Self.refuseFolder(path)
        let files = FileManager.default
        if files.fileExists(atPath: path) { try files.removeItem(atPath: path) }
        try files.moveItem(atPath: path + ".part", toPath: path)
    }
}
