/// How a rank can compute each kind of product, and what the ranks of a job make of it.
///
/// Ranks with unlike CPUs may sum in unlike ways. If each took its fastest, a text's bits would
/// depend on which rank holds an expert; so all take the best way that every one of them has.
public struct KernelOffer: Hashable, Codable, Sendable {
    /// By kind of product: the arithmetics that the rank has, the fastest first. Names are those of
    /// the room that computes.
    public var arithmetics: [String: [String]]

    /// States what a rank has.
    public init(_ arithmetics: [String: [String]]) { self.arithmetics = arithmetics }

    /// What is left of an offer that ranks agreed on: another coordinator finds the same from it.
    package func limited(to agreed: [String: String]) -> KernelOffer {
        KernelOffer(
            Dictionary(
                uniqueKeysWithValues: arithmetics.map { kind, all in
                    (kind, agreed[kind].flatMap { all.contains($0) ? [$0] : nil } ?? all)
                }))
    }

    /// The arithmetic of each kind that every rank has, the one with the least sum of places in
    /// their lists; of equals the one that comes first in the first list. A kind that has no common
    /// arithmetic is left out.
    public static func agreed(_ offers: [KernelOffer]) -> [String: String] {
        guard let first = offers.first else { return [:] }
        var agreed: [String: String] = [:]
        for (kind, own) in first.arithmetics {
            let lists = offers.map { $0.arithmetics[kind] ?? [] }
            let places = own.compactMap { name -> (name: String, sum: Int)? in
                let found = lists.compactMap { $0.firstIndex(of: name) }
                return found.count == lists.count ? (name, found.reduce(0, +)) : nil
            }
            agreed[kind] = places.min { $0.sum < $1.sum }?.name
        }
        return agreed
    }

    /// Kinds without a common arithmetic, with what each rank would take, as sentences.
    ///
    /// - Parameter offers: Of the ranks, in their order.
    public static func conflicts(_ offers: [KernelOffer]) -> [String] {
        let agreed = agreed(offers)
        let kinds = Set(offers.flatMap(\.arithmetics.keys)).filter { agreed[$0] == nil }
        return kinds.sorted().map { kind in
            let takes = offers.map { $0.arithmetics[kind]?.first ?? "none" }
            let groups = Set(takes).sorted().map { name in
                let ranks = takes.indices.filter { takes[$0] == name }.map(String.init)
                return "\(name) on rank \(ranks.joined(separator: ", "))"
            }
            return "products of \(kind) are \(groups.joined(separator: "; ")): no arithmetic is"
                + " common to all, so a text's bits depend on which rank computes its experts;"
                + " APUS_CPU=portable on every rank gives all the same"
        }
    }
}
