import ArgumentParser
import Language

/// How the next token is chosen, as options; their ranges are those of `SamplingParameters`.
struct SamplingArguments: ParsableArguments {
    @Option(help: "0 takes the likeliest token; higher is more varied, to 100.")
    var temperature = 0.0

    @Option(help: "Keeps the likeliest tokens whose probabilities sum to this.")
    var topP = 1.0

    @Option(help: "Keeps this many likeliest tokens; 0 keeps all.")
    var topK = 0

    @Option(help: "Drops tokens less likely than this fraction of the likeliest.")
    var minP = 0.0

    @Option(help: "Divides the logits of tokens of the prompt or the text.")
    var repetitionPenalty = 1.0

    @Option(help: "Subtracted once from the logit of a token that was written before.")
    var presencePenalty = 0.0

    @Option(help: "Subtracted from a token's logit for each time it was written.")
    var frequencyPenalty = 0.0

    @Option(help: "TOKEN:BIAS added to that token's logit; may be given more than once.")
    var logitBias: [TokenBias] = []

    @Option(help: "The same seed gives the same text.")
    var seed: UInt64 = 0

    /// One `--logit-bias`.
    struct TokenBias: ExpressibleByArgument {
        var token: Int
        var bias: Double

        init?(argument: String) {
            let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 2, let token = Int(parts[0]), let bias = Double(parts[1]) else {
                return nil
            }
            self.token = token
            self.bias = bias
        }
    }

    var parameters: SamplingParameters {
        SamplingParameters(
            temperature: temperature, topP: topP, topK: topK, minP: minP,
            repetitionPenalty: repetitionPenalty, presencePenalty: presencePenalty,
            frequencyPenalty: frequencyPenalty,
            logitBias: Dictionary(logitBias.map { ($0.token, $0.bias) }) { $1 }, seed: seed)
    }
}
