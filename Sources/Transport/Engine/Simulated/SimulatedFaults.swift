package import Topology

/// What goes wrong in a simulated fabric, and when.
package struct SimulatedFaults: Sendable {
    /// One thing that happens to links.
    package struct Event: Hashable, Sendable {
        /// After the fabric was joined, in nanoseconds.
        package let nanoseconds: UInt64
        /// Indices of the links.
        package let links: [Int]
        /// What they carry from then on, as a share of their rate; 0 is a cut.
        package let share: Double

        /// Describes an event.
        package init(nanoseconds: UInt64, links: [Int], share: Double) {
            self.nanoseconds = nanoseconds
            self.links = links
            self.share = share
        }
    }

    /// Changes of links, in any order.
    package var links: [Event] = []
    /// When ranks die as a killed process does, in nanoseconds after the fabric was joined.
    package var deaths: [Rank: UInt64] = [:]
    /// The most by which a message may be late, so that planes overtake each other.
    package var jitterNanoseconds: UInt64 = 0

    /// No faults.
    package init() {}
}
