import Foundation
import Synchronization

/// How the threads of a loopback run ended.
final class ThreadEndings: Sendable {
    private let errors = Mutex<[Int: any Error]>([:])
    private let group = DispatchGroup()

    init(count: Int) { for _ in 0 ..< count { group.enter() } }

    func end(_ rank: Int, _ ending: Result<Void, any Error>) {
        if case .failure(let error) = ending { errors.withLock { $0[rank] = error } }
        group.leave()
    }

    /// Returns when all have ended; throws the error of the lowest rank that failed.
    func wait() throws {
        group.wait()
        let first = errors.withLock { errors in
            errors.sorted { $0.key < $1.key }.first?.value
        }
        if let first { throw first }
    }
}
