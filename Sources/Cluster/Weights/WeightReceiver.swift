public import Encoding
import Foundation
public import Logging
import NIOCore
import NIOPosix
import Synchronization

/// Receives weights from hosts of the job that have them, from all at once.
///
/// Connections are kept for the next call. Pieces of a source that is lost are dealt to the others,
/// and where none is left the coordinator is asked who has the model now. It is asked now and then
/// beside a transfer, too: sources that come later help.
public final class WeightReceiver: Sendable {
    private struct State {
        var connections: [WeightConnection] = []
        var manifest: WeightManifest?
        /// Why sources were given up, by their addresses.
        var faults: [String: String] = [:]
        var lastSearch = ContinuousClock.now
        /// Whether sources are searched beside a transfer.
        var isSearching = false
        var isClosed = false
    }

    private let token: ControlToken
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    private let state = Mutex(State())
    /// One call receives at a time.
    private let receiving = Mutex(())
    /// One search at a time: two would connect to the same sources.
    private let searching = Mutex(())
    private let sources: @Sendable () throws -> [[Endpoint]]
    private let patience: Duration
    private let log: Logger

    /// - Parameters:
    ///   - patience: How long to wait without a piece, while no source answers.
    ///   - sources: The addresses of each source, the likeliest first.
    public init(
        token: ControlToken, patience: Duration, log: Logger,
        sources: @escaping @Sendable () throws -> [[Endpoint]]
    ) {
        self.token = token
        self.patience = patience
        self.log = log
        self.sources = sources
    }

    /// The files that the sources have.
    ///
    /// - Throws: `ClusterError.deadline` where none answers.
    public func manifest() throws -> WeightManifest {
        let limit = ContinuousClock.now + patience
        while true {
            connect()
            if let manifest = state.withLock({ $0.manifest }) { return manifest }
            guard .now < limit else { throw noSource("the list of the model's files") }
            Thread.sleep(forTimeInterval: Self.pauseSeconds)
        }
    }

    /// Receives pieces, in any order; returns when all were taken.
    ///
    /// - Parameter take: Called from several threads.
    /// - Throws: What `take` threw, or `ClusterError.deadline` when nothing has come for too long.
    public func receive(
        _ pieces: [WeightPiece],
        take: @escaping @Sendable (WeightPiece, _ bytes: [UInt8]?, _ digest: Digest) throws -> Void
    ) throws {
        guard !pieces.isEmpty else { return }
        try receiving.withLock { _ in
            let deal = WeightDeal(pieces, take: take)
            do {
                try run(deal)
            } catch {
                // What is under way is for nobody any more.
                deal.fail(error)
                drop { _ in true }
                throw error
            }
        }
    }

    private func run(_ deal: WeightDeal) throws {
        var nextSearch = ContinuousClock.now
        while true {
            for connection in open() {
                connection.endIfSilent()
                connection.work(on: deal)
            }
            if !open().isEmpty {
                searchBeside()
            } else if .now >= nextSearch {
                connect()
                nextSearch = .now + .seconds(Self.pauseSeconds)
                if !open().isEmpty { continue }
            }
            if try deal.wait(Self.dealSeconds) { return }
            guard .now - deal.lastTaken < patience else { throw noSource("weights") }
        }
    }

    private static let pauseSeconds = 0.5
    /// For pieces of a lost connection to be dealt again.
    private static let dealSeconds = 0.1
    /// Between searches beside a transfer.
    private static let searchInterval = Duration.seconds(5)

    /// Connects to sources that came later, while others give.
    private func searchBeside() {
        let isDue = state.withLock { state in
            guard !state.isSearching, .now - state.lastSearch >= Self.searchInterval else {
                return false
            }
            state.isSearching = true
            return true
        }
        guard isDue else { return }
        DispatchQueue.global().async { [self] in
            connect()
            let isClosed = state.withLock { state in
                state.isSearching = false
                return state.isClosed
            }
            if isClosed { end() }
        }
    }

    /// Connections that work; those that do not are noted and forgotten.
    private func open() -> [WeightConnection] {
        drop { $0.fault != nil }
        return state.withLock { $0.connections }
    }

    private func drop(_ isOver: (WeightConnection) -> Bool) {
        let over = state.withLock { state -> [WeightConnection] in
            let over = state.connections.filter(isOver)
            state.connections.removeAll { connection in over.contains { $0 === connection } }
            for connection in over { state.faults[connection.source] = connection.fault }
            return over
        }
        for connection in over {
            if let fault = connection.fault {
                log.warning("weights: \(connection.source) \(fault)")
            }
            connection.close()
        }
    }

    /// Connects to every source that is not connected, by the first of its addresses that answers
    /// as one.
    private func connect() {
        searching.withLock { _ in connectAlone() }
    }

    private func connectAlone() {
        defer { state.withLock { $0.lastSearch = .now } }
        let found: [[Endpoint]]
        do {
            found = try sources()
        } catch {
            return state.withLock { $0.faults["coordinator"] = "\(error)" }
        }
        let known = Set(open().map(\.source))
        let missing = found.filter { source in !source.contains { known.contains($0.text) } }
        DispatchQueue.concurrentPerform(iterations: missing.count) { index in
            for endpoint in missing[index] where connect(to: endpoint) { return }
        }
    }

    /// For an address to answer: several are tried.
    private static let connectLimit = Duration.seconds(3)

    private func connect(to source: Endpoint) -> Bool {
        for number in 0 ..< WeightProtocol.connectionsPerSource {
            do throws(ClusterError) {
                let (connection, manifest) = try WeightConnection.open(
                    source, token, group: group, limit: Self.connectLimit)
                guard adopt(connection, manifest) else { return false }
            } catch {
                state.withLock { $0.faults[source.text] = "\(error)" }
                return number > 0
            }
        }
        return true
    }

    /// Takes a source in, if it has the files that the first one has.
    private func adopt(_ connection: WeightConnection, _ manifest: WeightManifest) -> Bool {
        let isSame = state.withLock { state in
            guard !state.isClosed, state.manifest == nil || state.manifest == manifest else {
                return false
            }
            state.manifest = manifest
            state.connections.append(connection)
            return true
        }
        if !isSame {
            state.withLock { $0.faults[connection.source] = "has files of another model" }
            connection.close()
        }
        return isSame
    }

    private func noSource(_ wanted: String) -> ClusterError {
        let faults = state.withLock { $0.faults }
        let words = faults.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
            .joined(separator: "; ")
        return .deadline(
            "\(wanted) did not come within \(patience.seconds.formatted(digits: 1)) s:"
                + " \(words.isEmpty ? "no host of the job gives the model" : words)")
    }

    /// Ends every connection.
    public func close() {
        let isSearching = state.withLock { state in
            state.isClosed = true
            return state.isSearching
        }
        // A search under way needs the event loops, and ends them itself.
        if isSearching { drop { _ in true } } else { end() }
    }

    private func end() {
        drop { _ in true }
        group.shutdownGracefully { _ in }
    }
}
