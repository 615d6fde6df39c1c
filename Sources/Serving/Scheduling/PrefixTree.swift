import Models

/// Finds the longest prefix of a prompt whose latents are already in blocks.
///
/// Each edge of the tree is the tokens of one whole block. Edges are compared in full, so two texts
/// share a block only if every token before its end is the same. Salts have separate roots, so
/// nothing that a caller sends can name another caller's block.
///
/// 1. A node that a sequence holds is held with all its ancestors.
/// 2. Only a node that nobody holds and that has no child may be evicted; such nodes form one list,
///    least recently used first.
struct PrefixTree {
    /// A node's index; `none` stands for a root.
    struct NodeID: Hashable {
        let index: Int
        static let none = NodeID(index: -1)
    }

    private struct Node {
        var block: BlockID
        var tokens: [Int]
        var parent: NodeID
        var salt: UInt64
        var children: [[Int]: NodeID] = [:]
        var holders = 0
        var older = NodeID.none
        var newer = NodeID.none
        var isListed = false
        /// When its block was last given to be kept elsewhere, too; nil if it never was.
        var keptAt: UInt64?
    }

    /// The nodes by id; a place whose node is gone is used again.
    private struct Arena {
        private var places: [Node?] = []
        private var vacant: [Int] = []

        var count: Int { places.count - vacant.count }

        subscript(id: NodeID) -> Node {
            get {
                guard let node = places[id.index] else { Self.missing(id) }
                return node
            }
            _modify {
                guard places[id.index] != nil else { Self.missing(id) }
                yield &places[id.index]!
            }
        }

        mutating func insert(_ node: Node) -> NodeID {
            guard let index = vacant.popLast() else {
                places.append(node)
                return NodeID(index: places.count - 1)
            }
            places[index] = node
            return NodeID(index: index)
        }

        mutating func remove(_ id: NodeID) {
            places[id.index] = nil
            vacant.append(id.index)
        }

        private static func missing(_ id: NodeID) -> Never {
            preconditionFailure("node \(id.index) is gone")
        }
    }

    let blockTokens: Int
    private var nodes = Arena()
    private var roots: [UInt64: [[Int]: NodeID]] = [:]
    private var oldest = NodeID.none
    private var newest = NodeID.none

    /// Nodes that no sequence holds: their blocks can be taken back.
    private(set) var reclaimableCount = 0

    init(blockTokens: Int) {
        precondition(blockTokens > 0, "a block needs at least one token, not \(blockTokens)")
        self.blockTokens = blockTokens
    }

    /// Nodes in the tree.
    var count: Int { nodes.count }

    /// The nodes of the longest cached prefix, root side first, and holds them.
    mutating func acquire(_ tokens: [Int], atMost limit: Int, salt: UInt64) -> [(NodeID, BlockID)] {
        let path = path(tokens, atMost: limit, salt: salt)
        for id in path { hold(id) }
        return path.map { ($0, nodes[$0].block) }
    }

    /// Blocks of the longest cached prefix.
    func reach(_ tokens: [Int], atMost limit: Int, salt: UInt64) -> Int {
        path(tokens, atMost: limit, salt: salt).count
    }

    private func path(_ tokens: [Int], atMost limit: Int, salt: UInt64) -> [NodeID] {
        var path: [NodeID] = []
        var start = 0
        while start + blockTokens <= min(limit, tokens.count) {
            let key = Array(tokens[start ..< start + blockTokens])
            guard let next = child(of: path.last ?? .none, key: key, salt: salt) else { break }
            path.append(next)
            start += blockTokens
        }
        return path
    }

    /// Notes that the block of a node is to be kept elsewhere, too.
    ///
    /// - Parameters:
    ///   - now: A count that only grows.
    ///   - interval: After this much of it the block is kept again: a copy that is not used is the
    ///     first that goes, and one that was not made is made then.
    /// - Returns: Whether it is time to keep it.
    mutating func keep(_ id: NodeID, now: UInt64, interval: UInt64) -> Bool {
        if let keptAt = nodes[id].keptAt, now < keptAt + interval { return false }
        nodes[id].keptAt = now
        return true
    }

    /// Adds a full block below `parent` and holds it.
    ///
    /// Returns the node now in that place and its block, which is another block than the one given
    /// if the same tokens were already there: the given one then stays with the caller.
    mutating func insert(
        _ block: BlockID, tokens: [Int], below parent: NodeID, salt: UInt64
    ) -> (NodeID, BlockID) {
        precondition(tokens.count == blockTokens, "a node holds \(blockTokens) tokens")
        if let present = child(of: parent, key: tokens, salt: salt) {
            hold(present)
            return (present, nodes[present].block)
        }
        let node = Node(block: block, tokens: tokens, parent: parent, salt: salt, holders: 1)
        let id = nodes.insert(node)
        if parent == .none {
            roots[salt, default: [:]][tokens] = id
        } else {
            precondition(nodes[parent].holders > 0, "a parent must be held")  // 1
            nodes[parent].children[tokens] = id
        }
        return (id, block)
    }

    /// Gives up a path that was acquired or inserted, leaf or root first alike.
    mutating func release(_ path: some Sequence<NodeID>) {
        for id in path {
            nodes[id].holders -= 1
            precondition(nodes[id].holders >= 0, "node \(id.index) is released twice")
            if nodes[id].holders == 0 {
                reclaimableCount += 1
                list(id)
            }
        }
    }

    /// Forgets the least recently used prefix end and returns its block.
    mutating func evict() -> BlockID? {
        guard oldest != .none else { return nil }
        let id = oldest
        unlist(id)
        let node = nodes[id]
        if node.parent == .none {
            roots[node.salt]![node.tokens] = nil
            if roots[node.salt]!.isEmpty { roots[node.salt] = nil }
        } else {
            nodes[node.parent].children[node.tokens] = nil
            list(node.parent, asOldest: true)
        }
        nodes.remove(id)
        reclaimableCount -= 1
        return node.block
    }

    private func child(of parent: NodeID, key: [Int], salt: UInt64) -> NodeID? {
        parent == .none ? roots[salt]?[key] : nodes[parent].children[key]
    }

    private mutating func hold(_ id: NodeID) {
        if nodes[id].holders == 0 { reclaimableCount -= 1 }
        nodes[id].holders += 1
        unlist(id)
    }

    /// Puts a node on the list of evictable nodes if it belongs there.
    private mutating func list(_ id: NodeID, asOldest: Bool = false) {
        let node = nodes[id]
        guard node.holders == 0, node.children.isEmpty, !node.isListed else { return }  // 2
        nodes[id].isListed = true
        if asOldest {
            nodes[id].newer = oldest
            if oldest != .none { nodes[oldest].older = id } else { newest = id }
            oldest = id
        } else {
            nodes[id].older = newest
            if newest != .none { nodes[newest].newer = id } else { oldest = id }
            newest = id
        }
    }

    private mutating func unlist(_ id: NodeID) {
        let node = nodes[id]
        guard node.isListed else { return }
        if node.older != .none {
            nodes[node.older].newer = node.newer
        } else {
            oldest = node.newer
        }
        if node.newer != .none {
            nodes[node.newer].older = node.older
        } else {
            newest = node.older
        }
        nodes[id].older = .none
        nodes[id].newer = .none
        nodes[id].isListed = false
    }
}
