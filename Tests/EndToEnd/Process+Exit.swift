import Foundation
import Glibc

extension Process {
    /// The exit status, or 128 + signal; nil when the program does not end in time.
    func exitStatus(within seconds: Double) -> Int32? {
        let limit = ContinuousClock.now + .seconds(seconds)
        while isRunning {
            guard .now < limit else { return nil }
            usleep(10_000)
        }
        waitUntilExit()
        // The reason is set a moment after the status.
        usleep(50_000)
        return terminationReason == .exit ? terminationStatus : 128 + terminationStatus
    }
}
