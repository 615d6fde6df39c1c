import Encoding
import Grammar
import Language

/// The fields that every generating endpoint shares, read from a request that has its shape.
struct GenerationFields: Sendable {
    var model: String?
    var maxTokens: Int?
    /// What the request calls that limit.
    var maxTokensName: String
    var minTokens: Int
    var sampling: SamplingParameters
    /// Without a seed of the caller's, each text gets one of its own.
    var seed: UInt64?
    var choices: Int
    var stopStrings: [String]
    var stopTokens: [Int]
    var ignoresEndTokens: Bool
    var skipsSpecialTokens: Bool
    var streams: Bool
    var includesUsage: Bool
    var includesContinuousUsage: Bool
    var constraint: OutputConstraint?
    /// Whether the constraint is that of `response_format`, beside which a call is another answer.
    var isResponseFormat: Bool
    var cacheSalt: String?

    init(_ body: JSONValue, defaults: SamplingParameters) throws(APIError) {
        model = body["model"]?.string
        (maxTokens, maxTokensName) = try Self.maxTokens(body)
        minTokens = body["min_tokens"]?.integer ?? 0
        choices = body["n"]?.integer ?? 1
        if let best = body["best_of"]?.integer, best != choices {
            throw .invalid(
                "best_of is \(best): it must be n, which is \(choices)", parameter: "best_of")
        }
        switch body["stop"] {
        case .string(let text): stopStrings = [text]
        case .array(let texts): stopStrings = texts.compactMap(\.string)
        default: stopStrings = []
        }
        stopTokens = (body["stop_token_ids"]?.array ?? []).compactMap(\.integer)
        ignoresEndTokens = body["ignore_eos"]?.bool ?? false
        skipsSpecialTokens = body["skip_special_tokens"]?.bool ?? true
        streams = body["stream"]?.bool ?? false
        if !streams, body["stream_options"]?.object != nil {
            throw .invalid(
                "stream_options is given, but stream is not true", parameter: "stream_options")
        }
        includesUsage = body["stream_options"]?["include_usage"]?.bool ?? false
        includesContinuousUsage = body["stream_options"]?["continuous_usage_stats"]?.bool ?? false
        cacheSalt = body["cache_salt"]?.string
        seed = body["seed"]?.integer.map { UInt64(bitPattern: Int64($0)) }
        sampling = try Self.sampling(body, defaults: defaults)
        let placed = try PlacedConstraint.read(body)
        constraint = placed.map { .named($0.place, parameter: $0.place, $0.constraint) }
        isResponseFormat = placed?.place.hasPrefix("response_format") == true
    }

    private static func maxTokens(_ body: JSONValue) throws(APIError) -> (Int?, String) {
        let (old, new) = (body["max_tokens"]?.integer, body["max_completion_tokens"]?.integer)
        if let old, let new, old != new {
            throw .invalid(
                "max_tokens is \(old) and max_completion_tokens is \(new): they are one limit",
                parameter: "max_tokens")
        }
        return new.map { ($0, "max_completion_tokens") } ?? (old, "max_tokens")
    }

    private static func sampling(
        _ body: JSONValue, defaults: SamplingParameters
    ) throws(APIError) -> SamplingParameters {
        var options = defaults
        if let value = body["temperature"]?.double { options.temperature = value }
        if let value = body["top_p"]?.double { options.topP = max(value, .leastNonzeroMagnitude) }
        if let value = body["top_k"]?.integer { options.topK = max(0, value) }
        if let value = body["min_p"]?.double { options.minP = value }
        if let value = body["presence_penalty"]?.double { options.presencePenalty = value }
        if let value = body["frequency_penalty"]?.double { options.frequencyPenalty = value }
        if let value = body["repetition_penalty"]?.double { options.repetitionPenalty = value }
        for member in body["logit_bias"]?.object ?? [] {
            guard let token = Int(member.key), token >= 0, let bias = member.value.double else {
                throw .invalid(
                    "logit_bias has the key \(JSONValue.quoted(member.key)), which is no token id",
                    parameter: "logit_bias")
            }
            options.logitBias[token] = bias
        }
        return options
    }

    /// The request for one of the texts of a prompt.
    ///
    /// - Parameter promptName: What the request calls its prompt.
    func request(
        id: RequestID, prompt: [Int], promptName: String, index: Int, fallbackSeed: UInt64,
        contextTokens: Int, defaultTokens: Int?
    ) throws(APIError) -> GenerationRequest {
        // Clients search for these words and the code to shorten a prompt or to go elsewhere.
        let limit = "this model's maximum context length is \(contextTokens) tokens"
        let room = contextTokens - prompt.count
        guard room >= 0 else {
            throw .invalid(
                "\(promptName) has \(prompt.count) tokens: \(limit)", parameter: promptName,
                code: "context_length_exceeded")
        }
        let wanted = maxTokens ?? defaultTokens ?? room
        guard wanted <= room else {
            throw .invalid(
                "\(maxTokensName) is \(wanted) and \(promptName) has \(prompt.count) tokens: "
                    + "\(limit), which leaves \(room)",
                parameter: maxTokensName, code: "context_length_exceeded")
        }
        guard minTokens <= wanted else {
            throw .invalid(
                "min_tokens is \(minTokens): \(maxTokensName) is \(wanted)",
                parameter: "min_tokens")
        }
        var request = GenerationRequest(id: id, prompt: prompt, maxNewTokens: wanted)
        request.minNewTokens = minTokens
        request.sampling = sampling
        request.sampling.seed = (seed ?? fallbackSeed) &+ UInt64(index)
        request.stopTokens = stopTokens
        request.ignoresEndTokens = ignoresEndTokens
        request.constraint = constraint
        return request
    }
}
