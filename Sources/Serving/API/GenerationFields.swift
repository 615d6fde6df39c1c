import Encoding
import Grammar
import Language

/// The fields that every generating endpoint shares, read from a request that has its shape.
struct GenerationFields: Sendable {
    var model: String?
    var maxTokens: Int?
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
    var cacheSalt: String?

    init(_ body: JSONValue, defaults: SamplingParameters) throws(APIError) {
        model = body["model"]?.string
        maxTokens = (body["max_completion_tokens"]?.integer) ?? body["max_tokens"]?.integer
        minTokens = body["min_tokens"]?.integer ?? 0
        choices = body["n"]?.integer ?? 1
        if let best = body["best_of"]?.integer, best != choices {
            throw .invalid("best_of is \(best): only best_of equal to n (\(choices)) is supported")
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
        includesUsage = body["stream_options"]?["include_usage"]?.bool ?? false
        includesContinuousUsage = body["stream_options"]?["continuous_usage_stats"]?.bool ?? false
        cacheSalt = body["cache_salt"]?.string
        seed = body["seed"]?.integer.map { UInt64(bitPattern: Int64($0)) }
        sampling = try Self.sampling(body, defaults: defaults)
        constraint = try Self.constraint(body)
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

    private static func constraint(_ body: JSONValue) throws(APIError) -> OutputConstraint? {
        if let structured = body["structured_outputs"], !structured.isNull {
            if let json = structured["json"], !json.isNull {
                return .jsonSchema(json.string ?? json.text)
            }
            if let choices = structured["choice"]?.array {
                return .choice(choices.compactMap(\.string))
            }
        }
        let format = body["response_format"]
        switch format?["type"]?.string {
        case "json_object": return .jsonObject
        case "json_schema":
            return .jsonSchema(format?["json_schema"]?["schema"]?.text ?? "{}")
        default: return nil
        }
    }

    /// The request for one of the texts of a prompt.
    func request(
        id: RequestID, prompt: [Int], index: Int, fallbackSeed: UInt64, contextTokens: Int,
        defaultTokens: Int?
    ) throws(APIError) -> GenerationRequest {
        let room = contextTokens - prompt.count
        guard room >= 0 else {
            throw .invalid(
                "the prompt has \(prompt.count) tokens: the context holds \(contextTokens)",
                parameter: "prompt", code: "context_length_exceeded")
        }
        let wanted = maxTokens ?? defaultTokens ?? room
        guard wanted <= room else {
            throw .invalid(
                "max_tokens is \(wanted): a prompt of \(prompt.count) tokens leaves \(room) of "
                    + "the context's \(contextTokens)",
                parameter: "max_tokens", code: "context_length_exceeded")
        }
        guard minTokens <= wanted else {
            throw .invalid(
                "min_tokens \(minTokens) is more than max_tokens \(wanted)", parameter: "min_tokens"
            )
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
