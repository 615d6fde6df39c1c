public import Topology

/// How ranks learn of each other before bytes move: everybody gives a blob and gets all of them.
///
/// A run has one, made by a rendezvous, by a launcher's environment, or by a control plane. Calls
/// block, and are made by all ranks in the same order.
public protocol AddressExchange: AnyObject, Sendable {
    /// This rank.
    var rank: Rank { get }
    /// How many ranks take part.
    var rankCount: Int { get }

    /// Gives every rank the blobs of all, in rank order.
    ///
    /// - Parameter label: The same on all ranks, checked where the exchange can.
    /// - Throws: `deadline` naming a rank that did not come; `rankLost` for one that left.
    func allGather(
        _ blob: [UInt8], label: String, deadline: Deadline
    ) throws(TransportError) -> [[UInt8]]

    /// Ends the exchange; later calls throw `closed`.
    func close()
}

/// Limits of one exchange, so that a count from the network allocates nothing.
enum ExchangeLimit {
    /// A blob holds addresses, not data; a UCX worker address with many devices takes about 2 KB.
    static let blobBytes = 1 << 20
    /// A label is a word or two of ours.
    static let labelBytes = 256
}
