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
