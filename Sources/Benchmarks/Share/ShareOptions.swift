package import Models
package import Planner
package import Topology

/// What `apus bench share` measures: a model, the ranks that share it, and the load of each.
package struct ShareOptions: Sendable {
    /// A topology file: the machines that the prediction is for.
    package struct Cluster: Sendable {
        /// The file, for messages.
        package let file: String
        /// What it says.
        package let map: NodeMap
        /// What a rank may send.
        package let rates: LinkRates

        /// - Throws: `PlanError` where the file lacks a rate.
        package init(_ map: NodeMap, file: String) throws(PlanError) {
            self.file = file
            self.map = map
            rates = try LinkRates(map, file: file)
        }

        /// Ranks of a full node.
        package var ranksPerNode: Int { map.nodes.map(\.ranks).max() ?? 1 }
    }

    /// What the model is called.
    package var name: String
    /// The whole network.
    package var model: ModelConfiguration
    /// Ranks that share the routed experts.
    package var ranks: Int
    /// Blocks to make; nil is as many as fit.
    package var layers: Int?
    /// Tokens that each sequence has when it decodes, the newest included.
    package var context = 4096
    /// Sequences of each rank.
    package var batch = 32
    /// How weights are stored.
    package var format: RandomCheckpoint.Format
    /// Threads that compute.
    package var threads = 1
    /// Tokens of a prompt of each rank; 0 measures none.
    package var prefill = 512
    /// How popular experts are.
    package var pattern = AllToAllOptions.Pattern.uniform
    /// Measured decode steps.
    package var repetitions = 5
    /// Decides weights and routing.
    package var seed: UInt64 = 1
    /// Machines to predict; nil predicts nothing.
    package var cluster: Cluster?

    /// Ranks of a node, as the topology file says; without one each is a node of its own.
    var ranksPerNode: Int { cluster?.ranksPerNode ?? 1 }

    /// Ranks that share the cores and the memory of a machine: a full node's, or all of fewer.
    package var ranksOnNode: Int { min(ranks, ranksPerNode) }

    /// The defaults; weights as the configuration stores them.
    package init(name: String, model: ModelConfiguration, ranks: Int) {
        self.name = name
        self.model = model
        self.ranks = ranks
        format = RandomCheckpoint.Format(of: model)
    }

    /// Tokens of all ranks in one exchange whose routing is drawn: a second per million and block.
    package static let mostTokens = 1 << 20
    /// Decode steps that may be measured.
    package static let mostRepetitions = 1000

    /// - Throws: `PlanError.sizes` with the option, its value and the limit.
    package func validate() throws(PlanError) {
        let experts = model.routedExpertCount
        let limit = model.contextLimit
        let origin = "the model's context (\(model.contextLimitKey))"
        // All ranges are made before a value is checked, so none may be empty.
        let mostBatch = max(1, Self.mostTokens / max(1, ranks))
        for (option, value, range, origin) in [
            ("--ranks", ranks, 1 ... experts, "the model's routed experts (n_routed_experts)"),
            ("--context", context, 1 ... limit, origin),
            ("--prefill", prefill, 0 ... limit, origin),
            ("--batch", batch, 1 ... mostBatch, "tokens of all ranks"),
            ("--threads", threads, 1 ... 256, "threads of a pool"),
            ("--repetitions", repetitions, 1 ... Self.mostRepetitions, "steps"),
            ("--layers", layers ?? 1, 1 ... model.layerCount, "num_hidden_layers"),
        ] where !range.contains(value) {
            throw .sizes(
                option: "\(option) \(value)",
                fact: "is not \(range.lowerBound) to \(range.upperBound) (\(origin))")
        }
        guard experts.isMultiple(of: ranks) else {
            let fitting = (1 ... experts).filter { experts.isMultiple(of: $0) }
            let nearest = fitting.last { $0 < ranks } ?? 1
            let next = fitting.first { $0 > ranks } ?? experts
            throw .sizes(
                option: "--ranks \(ranks)",
                fact: "does not divide the \(experts) routed experts of \(name); "
                    + "\(nearest) and \(next) do")
        }
        guard prefill * ranks <= Self.mostTokens else {
            throw .sizes(
                option: "--prefill \(prefill)",
                fact: "of \(ranks) ranks is \(prefill * ranks) tokens; the limit is "
                    + "\(Self.mostTokens)")
        }
        if let cluster, cluster.map.rankCount < ranks {
            throw .sizes(
                option: "--ranks \(ranks)",
                fact: "is more than the \(cluster.map.rankCount) ranks of \(cluster.file)")
        }
    }
}
