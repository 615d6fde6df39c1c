import Topology

/// Carries puts to ranks that stores do not reach.
///
/// The receiving side writes into the window's memory and rings the rank's doorbell, so that waits
/// are the same for every way bytes come.
protocol RemoteEngine: AnyObject, Sendable {
    /// What the others' `connect` needs to reach this rank.
    func address() throws(TransportError) -> [UInt8]
    /// Connects to the ranks of `addresses`, which are what their engines' `address` said.
    func connect(_ addresses: [Rank: [UInt8]], deadline: Deadline) throws(TransportError)
    /// How bytes reach a rank, once connected.
    func path(to rank: Rank) -> Path
    /// Lets incoming puts find a window's memory. Returns bytes that peers' engines need.
    func register(_ window: RegisteredWindow) throws(TransportError) -> [UInt8]
    /// Takes what a peer's `register` returned.
    func learn(window: Int, of rank: Rank, key: [UInt8]) throws(TransportError)
    /// Forgets a window that its rank no longer holds; late puts into it are dropped.
    func release(window: Int)
    /// Posts bytes and signal; see `Window.put`.
    func put(
        _ window: Window, _ range: Range<Int>, to rank: Rank, at offset: Int, signal: Int?,
        value: UInt64
    ) throws(TransportError)
    /// A waiter will call `poll` until `endPolling`; the engine's own thread keeps out of its way.
    func beginPolling()
    /// Makes some progress, if nobody else does.
    func poll()
    /// The waiter goes on, or sleeps next and leaves progress to the engine's thread.
    func endPolling(isSleepNext: Bool)
    /// Returns when no posted put needs its staging bytes any more.
    func flush(deadline: Deadline) throws(TransportError)
    /// Gives up on a rank: what is posted to it completes or fails at once.
    func abandon(_ rank: Rank)
    /// Says good-bye to all peers, with the rank because of which this one leaves, and stops.
    func close(blaming blame: Rank?)
    /// Stops without a word, as a killed process does.
    func vanish()
}

/// A window as an engine sees it.
struct RegisteredWindow: Sendable {
    let identifier: Int
    let memory: WindowMemory
    let staging: WindowMemory?
}
