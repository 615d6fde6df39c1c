/// What a router knows of a rank's engine before it sends it anything.
public struct EngineCapacity: Codable, Hashable, Sendable {
    /// Whether the ranks before it on its node use every core already.
    ///
    /// Its experts work like any other rank's. Attention of its own would read all other weights
    /// once more, on cores that are taken, so requests come to it when the others are full.
    package var isSpare: Bool
    /// Requests of its batch; more would wait.
    public var runningLimit: Int
    /// Its machine, as its group numbers them in the present epoch.
    package var node = 0

    /// A rank that takes requests like any other.
    public init(runningLimit: Int, isSpare: Bool = false) {
        self.runningLimit = runningLimit
        self.isSpare = isSpare
    }

    /// The capacity of a rank beside those of its node.
    ///
    /// - Parameters:
    ///   - number: How many ranks of the node come before it.
    ///   - threads: Compute threads of each rank.
    ///   - cores: Cores of the node.
    ///   - node: The node, as the group numbers them.
    public init(number: Int, threads: Int, cores: Int, runningLimit: Int, node: Int = 0) {
        self.init(runningLimit: runningLimit, isSpare: number >= max(1, cores / max(1, threads)))
        self.node = node
    }
}
