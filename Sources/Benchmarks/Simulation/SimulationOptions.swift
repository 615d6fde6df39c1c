package import Collectives
package import Tensors
package import Topology

/// What `apus simulate all-to-all` simulates, and the cluster, tokens and faults of the others.
package struct SimulationOptions: Hashable, Sendable {
    /// How much of an exchange exists.
    package enum Detail: String, CaseIterable, Sendable {
        /// Ranks are threads that run the product's own code, and every byte is moved and checked.
        case bytes
        /// Sizes alone move: for thousands of ranks.
        case flows
    }

    /// When something stops, and for how long.
    package struct Pause: Hashable, Sendable {
        let begin: Duration
        let length: Duration

        package init(begin: Duration, length: Duration) {
            self.begin = begin
            self.length = length
        }
    }

    /// The topology file, for messages.
    package var file: String
    /// The described cluster.
    package var map: NodeMap
    /// Ranks that take part: those of the first nodes.
    package var rankCount: Int
    /// Ranks of one EP group; groups exchange at the same time.
    package var groupSize: Int?
    /// Whether all ranks share the experts where bytes move, as they do in one exchange.
    package var isOneGroup = true
    /// Decides routing, data, delays and the order of threads.
    package var seed: UInt64 = 1
    /// nil takes bytes where few ranks allow it.
    package var detail: Detail?
    /// How switches choose among equally short ways.
    package var networkRouting = LinkMap.Routing.static
    /// Which all-to-all.
    package var mode = ExpertParallelConfiguration.Mode.normal
    /// Tokens per rank.
    package var tokenCount = 128
    /// Values per token.
    package var hiddenSize = 7168
    /// Choices per token.
    package var topK = 8
    /// Routed experts.
    package var expertCount = 256
    /// Groups of experts, and how many a token may use.
    package var expertGroups = 1, topGroups = 1
    /// How tokens travel.
    package var dispatchCodec = RowCodec.float8e4m3(powerOfTwo: false)
    /// Virtual time that a rank computes before each half.
    package var compute = Duration.zero
    /// Ranks that compute slower, each with its factor.
    package var stragglers: [Rank: Double] = [:]
    /// Links that carry less, each with the share that is left.
    package var slowLinks: [String: Double] = [:]
    /// Links that are cut, and when.
    package var cuts: [String: Duration] = [:]
    /// Ranks whose node carries nothing for a time.
    package var pauses: [Rank: Pause] = [:]
    /// Ranks that die as a killed process does, and when.
    package var kills: [Rank: Duration] = [:]
    /// The most by which a message may be late.
    package var jitter = Duration.zero
    /// Silence after which a rank is lost.
    package var silenceLimit = Duration.seconds(5)

    /// The stated defaults: DeepSeek-V3's sizes.
    package init(file: String, map: NodeMap, rankCount: Int) {
        self.file = file
        self.map = map
        self.rankCount = rankCount
    }

    /// A fabric of threads: each rank has three, and maps the windows of its node.
    package static let mostRanksOfBytes = 128
    /// Above, bytes would take minutes.
    static let usualRanksOfBytes = 64
    /// What windows and rows may take of the machine's memory, as real bytes move.
    static let mostBytes = Double(8 << 30)
    /// Far above the largest published fabric.
    static let mostRanks = 65536

    /// How long a half may wait, beyond what is planted: many times the limit of silence.
    private static let usualLimit = Duration.seconds(120)

    /// What is simulated.
    package var chosenDetail: Detail {
        detail ?? (rankCount <= Self.usualRanksOfBytes ? .bytes : .flows)
    }

    /// Ranks of one EP group: what was asked for, or the most that the experts allow.
    package var chosenGroupSize: Int {
        groupSize ?? (1 ... min(rankCount, expertCount)).last { rankCount % $0 == 0 } ?? 1
    }

    /// What the ranks' groups are made with.
    var configuration: ExpertParallelConfiguration {
        var configuration = ExpertParallelConfiguration(
            mode: mode, hiddenSize: hiddenSize, topK: topK,
            maximumTokensPerRank: max(1, tokenCount), dispatchCodec: dispatchCodec,
            combineCodec: .bfloat16)
        let pause = pauses.values.map { $0.begin + $0.length }.max() ?? .zero
        let slowest = stragglers.values.max() ?? 1
        configuration.limit = Self.usualLimit + silenceLimit * 4 + pause + compute * slowest
        return configuration
    }
}
