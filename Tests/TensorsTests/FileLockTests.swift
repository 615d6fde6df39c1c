import Dispatch
import Foundation
import Synchronization
import Tensors
import Testing

extension TensorsTests {
    /// Who has the lock of a file.
    @Suite struct FileLockTests {
        private static func path() -> String {
            FileManager.default.temporaryDirectory.appending(path: "lock-\(UUID().uuidString)")
                .path(percentEncoded: false)
        }

        private static func remove(_ path: String) {
            do { try FileManager.default.removeItem(atPath: path) } catch {
                Issue.record("\(path) stays: \(error)")
            }
        }

        @Test func `a lock is refused while somebody has it`() throws {
            let path = Self.path()
            defer { Self.remove(path) }
            var first: FileLock? = try FileLock(path: path)
            #expect(first != nil)
            let error = #expect(throws: FileError.self) { _ = try FileLock(path: path) }
            #expect(error?.code == EWOULDBLOCK)
            first = nil
            #expect(throws: Never.self) { _ = try FileLock(path: path) }
        }

        /// Each owner removes its file before it gives the lock back, as writers of checkpoints do.
        @Test func `a lock is of the file that has the name`() {
            let path = Self.path()
            let taken = Atomic(0)
            let owners = Atomic(0)
            let faults = Mutex<[String]>([])
            DispatchQueue.concurrentPerform(iterations: 4) { _ in
                for _ in 0 ..< 1000 {
                    do {
                        let lock = try FileLock(path: path)
                        taken.wrappingAdd(1, ordering: .relaxed)
                        let before = owners.wrappingAdd(1, ordering: .sequentiallyConsistent)
                        if before.oldValue > 0 { faults.withLock { $0.append("two owners") } }
                        if !FileManager.default.fileExists(atPath: path) {
                            faults.withLock { $0.append("the locked file has no name") }
                        }
                        owners.wrappingSubtract(1, ordering: .sequentiallyConsistent)
                        try FileManager.default.removeItem(atPath: path)
                        withExtendedLifetime(lock) {}
                    } catch let error as FileError where error.code == EWOULDBLOCK {
                        continue
                    } catch { faults.withLock { $0.append("\(error)") } }
                }
            }
            let (count, found) = (taken.load(ordering: .relaxed), faults.withLock { $0 })
            #expect(count > 0 && found == [])
        }
    }
}
