import Models
import Planner
import Tensors

/// Which blocks of a model a share is made of, and the memory that they take.
struct ShareLayout {
    /// The numbers of the blocks in the whole model, ascending.
    let layers: [Int]
    /// The network of these blocks.
    let random: RandomModel
    /// Bytes of each kind of memory.
    let memory: ShareReport.Memory

    /// Part of free memory that stays free, beside `sparedBytes`: others live on the machine too.
    private static let sparedPart = 16
    private static let sparedBytes = 512 << 20

    /// Chooses one block of each kind, then more of the most frequent kind.
    ///
    /// - Parameter free: Bytes that may be used.
    /// - Throws: `PlanError.sizes` where not even one block of each kind fits, or `--layers` are
    ///   too few or too many; `ModelError` for a format that the family has not.
    init(_ options: ShareOptions, free: Int) throws {
        let model = options.model
        let byKind = Dictionary(grouping: 0 ..< model.layerCount) { model.kind(layer: $0) }
        let firsts = byKind.values.compactMap(\.first).sorted()
        let frequent = byKind.values.max { ($0.count, $1[0]) < ($1.count, $0[0]) } ?? []
        let others =
            frequent.dropFirst() + (0 ..< model.layerCount).filter { !frequent.contains($0) }
        let sizes = Dictionary(
            uniqueKeysWithValues: zip(
                firsts.map { model.kind(layer: $0) }, try Self.blockBytes(firsts, options)))
        let working = try ShareWorkingMemory(options).byteCount
        let fixed = try Self.headBytes(options) + working + Self.spared(of: free)
        let room = free - fixed
        let kinds = firsts.map { model.kind(layer: $0).name }.joined(separator: "; ")
        let wanted = options.layers ?? model.layerCount
        guard wanted >= firsts.count else {
            throw PlanError.sizes(
                option: "--layers \(wanted)",
                fact: "is less than one block of each of \(firsts.count) kinds (\(kinds))")
        }
        var chosen = firsts
        var needed = sizes.values.reduce(0, +)
        for layer in others where chosen.count < wanted && !firsts.contains(layer) {
            let bytes = sizes[model.kind(layer: layer)] ?? 0
            guard options.layers != nil || needed + bytes <= room else { break }
            chosen.append(layer)
            needed += bytes
        }
        chosen.sort()
        guard needed <= room else {
            throw PlanError.sizes(
                option: options.layers.map { "--layers \($0)" } ?? "--ranks \(options.ranks)",
                fact: "makes \(chosen.count) blocks (\(kinds)) of \(needed) bytes; with "
                    + "\(fixed) for the head, activations and what stays free, "
                    + "\(needed + fixed) bytes are needed and \(max(0, free)) are free. More "
                    + "ranks, --format int4, a smaller --batch, --context or --prefill need less")
        }
        layers = chosen
        let random = try RandomModel(
            model.keeping(chosen), format: options.format, rankCount: options.ranks,
            seed: options.seed)
        self.random = random
        let weights = chosen.indices.reduce(0) { $0 + random.weightBytes(layer: $1) }
        memory = ShareReport.Memory(
            weights: weights, head: random.headBytes,
            cache: BlockCache.bytesPerToken(of: random.configuration, format: .bfloat16)
                * Self.cacheTokens(options), working: working, free: free)
    }

    /// Bytes of these blocks, weights and cache.
    private static func blockBytes(_ layers: [Int], _ options: ShareOptions) throws -> [Int] {
        let part = options.model.keeping(layers)
        let random = try RandomModel(
            part, format: options.format, rankCount: options.ranks, seed: options.seed)
        return layers.indices.map { index in
            let one = part.keeping([index])
            return random.weightBytes(layer: index)
                + BlockCache.bytesPerToken(of: one, format: .bfloat16) * cacheTokens(options)
        }
    }

    /// Blocks of the cache that every sequence has, or the prompt.
    static func cacheBlocks(_ options: ShareOptions) -> Int {
        func blocks(_ tokens: Int) -> Int {
            (tokens + BlockCache.defaultBlockTokens - 1) / BlockCache.defaultBlockTokens
        }
        return max(options.batch * blocks(options.context), blocks(options.prefill))
    }

    private static func cacheTokens(_ options: ShareOptions) -> Int {
        cacheBlocks(options) * BlockCache.defaultBlockTokens
    }

    private static func headBytes(_ options: ShareOptions) throws -> Int {
        try RandomModel(
            options.model.keeping([0]), format: options.format, rankCount: options.ranks,
            seed: options.seed
        ).headBytes
    }

    /// What stays free.
    private static func spared(of free: Int) -> Int { max(0, free) / sparedPart + sparedBytes }
}
