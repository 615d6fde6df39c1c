import Synchronization
import Topology

/// Ranks as threads of one process: for tests, for benchmarks, and for runs on one machine.
public enum RankThreads {
    /// Calls `body` once per fabric, each time on a thread of its own, and waits for all.
    ///
    /// The fabrics stay open; a body whose rank ends early closes its own.
    ///
    /// - Returns: How each body ended, in the order of the fabrics.
    package static func endings<Value: Sendable>(
        _ fabrics: [any Fabric], _ body: @escaping @Sendable (any Fabric) throws -> Value
    ) throws(TransportError) -> [Result<Value, any Error>] {
        let endings = Endings<Value>(count: fabrics.count)
        var threads: [FabricThread] = []
        defer { for thread in threads { thread.join() } }
        for (index, fabric) in fabrics.enumerated() {
            threads.append(
                try FabricThread("rank-\(fabric.rank.rawValue)", clock: fabric.clock) {
                    endings.note(index, Result { try body(fabric) })
                })
        }
        for thread in threads { thread.join() }
        threads = []
        return endings.all
    }

    /// As `endings`, but returns what the bodies returned.
    ///
    /// - Throws: The error of the lowest rank whose body threw.
    @discardableResult
    public static func run<Value: Sendable>(
        _ fabrics: [any Fabric], _ body: @escaping @Sendable (any Fabric) throws -> Value
    ) throws -> [Value] {
        try endings(fabrics, body).map { try $0.get() }
    }

    private final class Endings<Value: Sendable>: Sendable {
        private let results: Mutex<[Result<Value, any Error>?]>

        init(count: Int) { results = Mutex(Array(repeating: nil, count: count)) }

        func note(_ index: Int, _ result: Result<Value, any Error>) {
            results.withLock { $0[index] = result }
        }

        /// Once all threads were joined.
        var all: [Result<Value, any Error>] {
            results.withLock { results in
                results.map { result in
                    guard let result else { preconditionFailure("a thread left no ending") }
                    return result
                }
            }
        }
    }
}
