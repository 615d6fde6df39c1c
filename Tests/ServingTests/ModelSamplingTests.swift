import Encoding
import Language
import Testing

@testable import Serving

/// What `generation_config.json` says of sampling.
@Suite struct ModelSamplingTests {
    private static func read(_ text: String) throws -> SamplingParameters {
        try SamplingParameters(ofModel: JSONValue.parse(text), path: "g.json")
    }

    /// As Qwen3-30B-A3B is published (2025-04), and one with penalties.
    @Test func `every key that requests have, too, counts`() throws {
        let qwen = try Self.read(
            #"{"do_sample":true,"temperature":0.6,"top_k":20,"top_p":0.95,"pad_token_id":1}"#)
        #expect(qwen == SamplingParameters(temperature: 0.6, topP: 0.95, topK: 20))
        let other = try Self.read(#"{"repetition_penalty":1.05,"min_p":0.1,"top_k":-1}"#)
        #expect(other == SamplingParameters(minP: 0.1, repetitionPenalty: 1.05))
    }

    @Test func `without the file or a key nothing changes, and a model may be greedy`() throws {
        #expect(try SamplingParameters(ofModel: nil, path: "g.json") == SamplingParameters())
        #expect(try Self.read(#"{"temperature":null}"#) == SamplingParameters())
        #expect(try Self.read(#"{"do_sample":false,"temperature":0.6}"#).temperature == 0)
    }

    @Test(arguments: [
        (#"{"temperature":-1}"#, "g.json: temperature is -1.0"),
        (#"{"temperature":"hot"}"#, #"g.json: temperature is "hot", which is no number"#),
        (#"{"top_p":0}"#, "g.json: top_p is 0.0"),
        (#"{"top_k":1.5}"#, "g.json: top_k is 1.5, which is no whole number"),
        (#"{"min_p":2}"#, "g.json: min_p is 2.0"),
        (#"{"repetition_penalty":0}"#, "g.json: repetition_penalty is 0.0"),
    ])
    func `a value outside its limits is refused before a request meets it`(
        text: String, words: String
    ) {
        let error = #expect(throws: LanguageError.self) { try Self.read(text) }
        #expect("\(error!)".hasPrefix(words), "\(error!)")
    }
}
