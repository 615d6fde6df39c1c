public import Collectives
import Foundation
public import Tensors
import Topology

/// What `apus bench all-to-all` measures.
///
/// Defaults of the serving path are a full step of serving; those of the library path are DeepEP's
/// own tests.
public struct AllToAllOptions: Hashable, Codable, Sendable {
    /// How experts are chosen.
    public enum Pattern: Hashable, Codable, Sendable {
        case uniform
        case zipf(Double)
        case kHot(share: Double)
        case counts([Double])
    }

    /// Which calls are measured.
    public var path = AllToAllPath.serving
    /// Which all-to-all.
    public var mode = ExpertParallelConfiguration.Mode.normal
    /// Tokens per rank.
    public var tokenCount = 4096
    /// Values per token.
    public var hiddenSize = 7168
    /// Choices per token.
    public var topK = 8
    /// Routed experts.
    public var expertCount = 256
    /// Expert groups, and how many a token may use.
    public var groupCount = 1, topGroups = 1
    /// How experts are chosen.
    public var pattern = Pattern.uniform
    /// How tokens travel.
    public var dispatchCodec = RowCodec.float8e4m3(powerOfTwo: false)
    /// How outputs travel.
    public var combineCodec = RowCodec.bfloat16
    /// How the caller stores tokens and sums of the library path, f32 or bf16; nil for bf16, as
    /// DeepEP takes them, or for f32 where f32 travels.
    public var storageCodec: RowCodec?
    /// Whether ranks and nodes add before outputs return; nil takes the mode's default.
    public var addsBeforeReturn: Bool?
    /// Exchanges before the measured ones, and the measured ones.
    public var warmUpCount = 3, iterationCount = 20
    /// Decides routing and data.
    public var seed: UInt64 = 1
    /// How long an exchange may wait for another rank.
    public var limitSeconds = 30.0

    /// The defaults of a path.
    public init(path: AllToAllPath = .serving) {
        self.path = path
        guard path == .serving else { return }
        mode = .lowLatency
        tokenCount = 512
        dispatchCodec = .bfloat16
        addsBeforeReturn = false
    }

    /// How tokens and sums are stored.
    public var storedCodec: RowCodec {
        if path == .serving { return .float32 }
        let isExact = dispatchCodec == .float32 || combineCodec == .float32
        return storageCodec ?? (isExact ? .float32 : .bfloat16)
    }

    /// What the group is made with.
    public var configuration: ExpertParallelConfiguration {
        var configuration = ExpertParallelConfiguration(
            mode: mode, hiddenSize: hiddenSize, topK: topK,
            maximumTokensPerRank: max(1, tokenCount), dispatchCodec: dispatchCodec,
            combineCodec: combineCodec, addsBeforeReturn: addsBeforeReturn)
        configuration.limit = .seconds(limitSeconds)
        return configuration
    }

    /// Decoding brings no more; above, normal mode is what DeepEP would use, and the figures of the
    /// two modes would not be comparable.
    static let lowLatencyTokenLimit = 256

    /// Checks what can be known before ranks meet.
    public func validate() throws {
        if path == .library, mode == .lowLatency, tokenCount > Self.lowLatencyTokenLimit {
            throw CollectivesError.limit(
                "tokens per rank", value: tokenCount, range: 0 ... Self.lowLatencyTokenLimit,
                origin: "mode low-latency")
        }
        try configuration.validate()
        _ = try generator()
    }

    /// The fields that all ranks must share, each with its name and value.
    func agreement() throws -> [(subject: String, value: String)] {
        var shared = self
        // Patience is a rank's own affair.
        shared.limitSeconds = 0
        let object = try JSONSerialization.jsonObject(with: JSONEncoder().encode(shared))
        guard let fields = object as? [String: Any] else { return [] }
        return fields.sorted { $0.key < $1.key }.map { (subject: $0.key, value: "\($0.value)") }
    }

    /// What draws the routing.
    public func generator() throws -> RoutingGenerator {
        try RoutingGenerator(
            pattern: pattern.drawn, expertCount: expertCount, topK: topK, groupCount: groupCount,
            topGroups: topGroups)
    }

    /// The routing of one rank.
    func routing(of rank: Rank, tokenCount: Int, round: Int) throws -> Routing {
        try generator().routing(
            tokenCount: tokenCount,
            seed: seed &* 0x9e37_79b9 &+ UInt64(rank.rawValue) &* 1_000_003 &+ UInt64(round))
    }
}

extension AllToAllOptions.Pattern {
    /// The same for what draws it.
    var drawn: RoutingGenerator.Pattern {
        switch self {
        case .uniform: .uniform
        case .zipf(let exponent): .zipf(exponent)
        case .kHot(let share): .kHot(share: share)
        case .counts(let counts): .counts(counts)
        }
    }

    /// Reads `uniform`, `zipf:1.0`, `k-hot` or `k-hot:0.8`; files are the program's to read.
    ///
    /// Nil for any other text, an exponent outside 0...100 or a share outside 0...1.
    public init?(_ text: String) {
        let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
        let number = parts.count > 1 ? Double(parts[1]) : nil
        guard parts.count < 2 || number != nil else { return nil }
        switch (parts.first, number) {
        case ("uniform", nil): self = .uniform
        case ("zipf", let exponent) where (0 ... 100).contains(exponent ?? 1):
            self = .zipf(exponent ?? 1)
        case ("k-hot", let share) where (0 ... 1).contains(share ?? 0.8):
            self = .kHot(share: share ?? 0.8)
        default: return nil
        }
    }
}

extension AllToAllOptions.Pattern: CustomStringConvertible {
    /// As the flag is written.
    public var description: String {
        switch self {
        case .uniform: "uniform"
        case .zipf(let exponent): "zipf:\(exponent)"
        case .kHot(let share): "k-hot:\(share)"
        case .counts: "file"
        }
    }
}
