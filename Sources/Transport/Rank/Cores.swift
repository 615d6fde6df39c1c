import CFabric
public import Topology

/// Which cores a process may run on.
public enum Cores {
    /// Binds this thread, and those it starts from now on, to the core of a rank among those that
    /// share this machine. Ranks in turn take the cores that the process was allowed.
    ///
    /// For a program that starts more ranks than there are cores: left alone, the scheduler now and
    /// then puts three of four on one core. A library call never binds anything.
    public static func bind(_ rank: Rank) throws(TransportError) {
        guard fabric_bind(Int32(rank.rawValue)) > 0 else { throw .system("sched_setaffinity") }
    }
}
