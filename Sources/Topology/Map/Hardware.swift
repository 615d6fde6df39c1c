/// What the planner must know of a cluster beyond names and rates of planes: what computes, how
/// ranks of one node are joined, how switches are wired, and prices.
///
/// A lab needs none of it, so every part is optional.
public struct Hardware: Hashable, Codable, Sendable {
    /// One machine: what a person finds when the lid is open.
    package var machine: Machine?
    /// What computes for one rank.
    package var processor: Processor?
    /// What joins the ranks of one node.
    package var intranode: IntranodeLink?
    /// The family that the switches are wired as.
    package var network: Network?
    /// What every exchange costs beyond its bytes: launching, polling, latency of the switches.
    package var exchangeSeconds: Double?
    /// Switches one by one, instead of a family.
    package var switches: [Switch] = []
    /// What parts and hours cost.
    package var prices: Prices?

    /// One machine.
    package struct Machine: Hashable, Codable, Sendable {
        /// What it is called by its maker.
        package var kind: String?
        /// Processor sockets.
        package var sockets: Int?
        /// NUMA domains over all sockets.
        package var numaDomains: Int?
        /// Cores over all sockets.
        package var cores: Int?
    }

    /// What computes for one rank: an accelerator, or a rank's share of a machine's cores.
    package struct Processor: Hashable, Codable, Sendable {
        /// What it is called by its maker.
        package var kind: String
        /// Memory for weights, cache and buffers.
        package var memoryBytes: Double
        /// Rate at which that memory is read.
        package var memoryBytesPerSecond: Double
        /// Peak rate of bf16 products, operations per second.
        package var bf16OperationsPerSecond: Double
        /// Peak rate of FP8 products; that of bf16 where it has none.
        package var fp8OperationsPerSecond: Double
        /// Share of the peak that large products reach.
        package var computeEfficiency: Double
        /// Share of the memory's rate that reading weights reaches.
        package var memoryEfficiency: Double
    }

    /// What joins the ranks of one node.
    package struct IntranodeLink: Hashable, Codable, Sendable {
        /// How bytes pass between two ranks of one node.
        package enum Kind: String, Codable, CaseIterable, Sendable {
            /// Shared memory of one machine.
            case shm
            /// NVLink through switches.
            case nvlink
            /// PCI Express.
            case pcie
        }

        /// How bytes pass.
        package var kind: Kind
        /// Rate of one rank, each direction.
        package var bytesPerSecond: Double
        /// Share of that rate that an exchange reaches.
        package var efficiency: Double
        /// Latency of one message.
        package var latencySeconds: Double
    }

    /// One switch of a fabric that is written down switch by switch.
    package struct Switch: Hashable, Codable, Sendable {
        /// What it is called.
        package var name: String
        /// The plane that it belongs to.
        package var plane: String
        /// How many ports it has.
        package var radix: Int
        /// Names of the nodes whose NICs are plugged into it.
        package var nodes: [String]
        /// Names of the switches above it, one link each.
        package var above: [String]
        /// Rate of each link to a switch above, each direction; nil is that of the plane.
        package var upBitsPerSecond: Double?
    }

    /// What parts and hours cost, US dollars.
    package struct Prices: Hashable, Codable, Sendable {
        /// One switch.
        package var switchDollars: Double?
        /// One link between switches, with its optics.
        package var linkDollars: Double?
        /// One endpoint: its cable and its share of optics.
        package var endpointDollars: Double?
        /// One rank for one hour.
        package var rankHourDollars: Double?
    }
}
