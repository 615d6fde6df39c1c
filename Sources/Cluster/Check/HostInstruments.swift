/// What a survey needs of rooms that this one does not see, given by the program.
package struct HostInstruments: Sendable {
    /// The instructions that the kernels use here.
    package var processorLevel: @Sendable () -> String
    /// Addresses of this host's network devices.
    package var addresses: @Sendable () -> [(device: String, address: String)]
    /// Ports of the RDMA devices here.
    package var rdmaPorts: @Sendable () -> [HostSurvey.RDMAPort]
    /// Listens for probes that show the token; returns the port.
    package var listen: @Sendable (_ token: String) throws -> Int
    /// Measures the way to another host that listens.
    package var measure: @Sendable (ProbeOrder) -> LinkMeasurement

    /// Instruments of one program.
    package init(
        processorLevel: @escaping @Sendable () -> String,
        addresses: @escaping @Sendable () -> [(device: String, address: String)],
        rdmaPorts: @escaping @Sendable () -> [HostSurvey.RDMAPort],
        listen: @escaping @Sendable (_ token: String) throws -> Int,
        measure: @escaping @Sendable (ProbeOrder) -> LinkMeasurement
    ) {
        self.processorLevel = processorLevel
        self.addresses = addresses
        self.rdmaPorts = rdmaPorts
        self.listen = listen
        self.measure = measure
    }
}

/// Which way a host shall measure.
package struct ProbeOrder: Codable, Equatable, Sendable {
    /// Addresses of the other host, the likeliest first.
    package var addresses: [String]
    /// Where it listens.
    package var port: Int
    /// What opens the connection.
    package var token: String
    /// The address of this host to leave by; nil leaves it to the kernel.
    package var localAddress: String?
    /// Sizes of packets to try, bytes with their headers.
    package var packetSizes: [Int]
}

/// What a host measured on the way to another.
///
/// Forward is from the host that measures. Rates are bytes per second.
package struct LinkMeasurement: Codable, Equatable, Sendable {
    /// The host that measured, and the other.
    package var from = ""
    package var to = ""
    /// The network device that the job names; empty where it names none.
    package var device = ""
    /// The other host's address that answered.
    package var address = ""
    /// The address of the measuring host on that way.
    package var localAddress = ""
    /// Why nothing was measured.
    package var failure: String?
    /// The shortest time of a byte there and back, seconds.
    package var roundTripSeconds: Double?
    package var forwardRate: Double?
    package var backwardRate: Double?
    /// Packets that fill the device's size are lost on a connection that short ones pass.
    package var isForwardStuck = false
    package var isBackwardStuck = false
    /// The largest packet that passes whole; nil where no datagram passes.
    package var forwardPacketBytes: Int?
    package var backwardPacketBytes: Int?

    /// A measurement that says nothing yet.
    package init() {}
}
