import Foundation
import Synchronization
import Topology
import Transport

/// Lets two ranks of different groups meet: their router carries what they say of their addresses.
///
/// Every message of it came over the control plane, whose connections proved the job's secret.
final class RelayedExchange: AddressExchange {
    let rank: Rank
    let rankCount = 2
    private let order: LinkOrder
    private let say: @Sendable (LinkBlob) -> Void
    private let heard = Mutex<[String: [UInt8]]>([:])
    private let isClosed = Mutex(false)
    private let news = DispatchSemaphore(value: 0)

    /// A blob holds addresses, not data.
    private static let mostBlobBytes = 1 << 16
    /// Two ranks that make a fabric and a window need a handful.
    private static let mostBlobs = 16
    /// Between checks of the deadline.
    private static let pauseSeconds = 0.05

    init(_ order: LinkOrder, say: @escaping @Sendable (LinkBlob) -> Void) {
        self.order = order
        self.say = say
        rank = Rank(rawValue: order.place)
    }

    /// Takes what the other rank said; what is too much is left out, so that the meeting fails.
    func hear(_ blob: LinkBlob) {
        guard blob.bytes.count <= Self.mostBlobBytes else { return }
        heard.withLock { heard in
            if heard.count < Self.mostBlobs { heard[blob.label] = blob.bytes }
        }
        news.signal()
    }

    func allGather(
        _ blob: [UInt8], label: String, deadline: Deadline
    ) throws(TransportError) -> [[UInt8]] {
        say(LinkBlob(number: order.number, label: label, bytes: blob))
        while true {
            if let theirs = heard.withLock({ $0.removeValue(forKey: label) }) {
                return order.place == 0 ? [blob, theirs] : [theirs, blob]
            }
            if isClosed.withLock({ $0 }) { throw .closed }
            guard deadline.remaining > .zero else {
                throw .deadline(order.peer, phase: label, limit: deadline.limit)
            }
            _ = news.wait(timeout: .now() + Self.pauseSeconds)
        }
    }

    func close() {
        isClosed.withLock { $0 = true }
        news.signal()
    }
}
