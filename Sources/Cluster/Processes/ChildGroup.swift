import Glibc

/// Processes that stand or fall together: the ranks of one command.
///
/// When one fails, the others have `grace` to notice it and to say so themselves. Then all that
/// are left are ended, as `Child.end` does.
public struct ChildGroup: Sendable {
    /// How a group ended.
    public struct Ending: Sendable {
        /// How each process ended, in the order of the commands.
        public var ends: [ProcessEnd]
        /// The process that failed first, if one did.
        public var firstFailure: Int?
        /// The processes that did not end by themselves after it.
        public var late: [Int] = []
    }

    private let children: [Child]

    /// Longer than the deadline in which survivors name a lost rank.
    public static let grace = Duration.seconds(15)

    /// Starts every command; ends those that were started when one cannot be.
    public init(_ commands: [Command]) throws(ClusterError) {
        var children: [Child] = []
        for command in commands {
            do throws(ClusterError) {
                children.append(try Child(command))
            } catch {
                for child in children { child.end(within: Child.patience) }
                throw error
            }
        }
        self.children = children
    }

    /// Waits until every process is gone; ends them when `stop` is raised.
    public func wait(stop: StopFlag, grace: Duration = grace) -> Ending {
        var failure: (child: Int, time: ContinuousClock.Instant)?
        while children.contains(where: { $0.end == nil }), !stop.isRaised {
            if failure == nil,
                let first = children.firstIndex(where: { $0.end.map { !$0.isSuccess } ?? false })
            {
                failure = (first, .now)
            }
            if let failure, .now - failure.time > grace { break }
            stop.wait(Self.pollInterval)
        }
        let left = children.indices.filter { children[$0].end == nil }
        for child in children { child.signal(SIGTERM) }
        let limit = ContinuousClock.now + Child.patience
        let ends = children.map { $0.end(within: limit - .now) }
        let first = failure?.child ?? ends.firstIndex { !$0.isSuccess }
        return Ending(ends: ends, firstFailure: first, late: stop.isRaised ? [] : left)
    }

    /// Seconds between two polls of the processes.
    private static let pollInterval = 0.02
}
