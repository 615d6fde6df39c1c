import NIOCore

/// The network of a job's control and data: an IPv4 subnet, or a device that every host has.
package enum JobNetwork: Hashable, Sendable {
    /// Addresses whose first `length` bits are those of `bits`.
    case subnet(bits: UInt32, length: Int)
    /// A device by its name.
    case device(String)

    /// An address of a network device.
    typealias Address = (device: String, address: String)

    /// Reads `10.1.0.0/16` or the name of a device.
    ///
    /// - Returns: Nil for what is neither.
    init?(_ text: String) {
        guard let slash = text.firstIndex(of: "/") else {
            // Linux's limit is 15 bytes of a name (IFNAMSIZ).
            let isName =
                (1 ... 15).contains(text.utf8.count) && !text.hasPrefix("-")
                && text.allSatisfy { $0.isASCII && !$0.isWhitespace && !",%:".contains($0) }
                && Self.bits(of: text) == nil
            guard isName else { return nil }
            self = .device(text)
            return
        }
        guard let bits = Self.bits(of: String(text[..<slash])),
            let length = Int(text[text.index(after: slash)...]), (1 ... 32).contains(length)
        else { return nil }
        self = .subnet(bits: bits, length: length)
    }

    /// Whether an address is in it.
    private func holds(_ address: Address) -> Bool {
        switch self {
        case .device(let name): address.device == name && Self.bits(of: address.address) != nil
        case .subnet: holds(address.address)
        }
    }

    /// Whether a subnet holds a numeric address; a device does not say.
    func holds(_ number: String) -> Bool {
        guard case .subnet(let bits, let length) = self, let other = Self.bits(of: number) else {
            return false
        }
        return (bits ^ other) >> (32 - length) == 0
    }

    /// The one address of a host in it.
    ///
    /// - Returns: The address, or the fact that there is none, or are several, with all there are.
    func own(of all: [Address]) -> Result<Address, JobNetworkFault> {
        // An address may have a label of its own, eth0:1, which is no device.
        let all = all.map { (device: String($0.device.prefix { $0 != ":" }), address: $0.address) }
        let mine = all.filter { holds($0) }
        if mine.count == 1 { return .success(mine[0]) }
        return .failure(JobNetworkFault(network: self, found: mine, all: all))
    }

    /// IPv4 addresses of this machine's network devices.
    static func addresses() -> [Address] {
        let devices = (try? System.enumerateDevices()) ?? []
        return devices.compactMap { device in
            guard let number = device.address?.ipAddress, bits(of: number) != nil else {
                return nil
            }
            return (device.name, number)
        }
    }

    /// The bits of an IPv4 address in dotted form.
    private static func bits(of text: String) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        let bytes = parts.compactMap { UInt8($0) }
        guard parts.count == 4, bytes.count == 4 else { return nil }
        return bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }
}

/// A host has no address in a job's network, or several.
struct JobNetworkFault: Error {
    let network: JobNetwork
    let found: [JobNetwork.Address]
    let all: [JobNetwork.Address]

    /// The fact, with what there is.
    ///
    /// - Parameter text: The network as the job file writes it.
    func fact(_ text: String) -> String {
        let place: String
        if case .device = network { place = "device \(text)" } else { place = "subnet \(text)" }
        return found.isEmpty
            ? "no IPv4 address in \(place) (network): it has \(Self.list(all))"
            : "several addresses in \(place) (network): \(Self.list(found))"
    }

    /// What a person can do.
    var remedy: String {
        found.isEmpty
            ? "name another network, or ip addr add ADDRESS/PREFIX dev DEVICE"
            : "name a smaller subnet that holds one of them"
    }

    private static func list(_ addresses: [JobNetwork.Address]) -> String {
        addresses.isEmpty
            ? "none" : addresses.map { "\($0.device) \($0.address)" }.joined(separator: ", ")
    }
}

extension JobConfiguration {
    /// The job's network; nil where it names none.
    var jobNetwork: JobNetwork? { JobNetwork(network) }

    /// The address of this machine in the job's network.
    ///
    /// - Parameter name: What messages call this process and its machine.
    /// - Returns: Nil where the job names no network.
    /// - Throws: `ClusterError.badInput` with the name and the addresses that there are.
    func ownAddress(as name: String) throws(ClusterError) -> JobNetwork.Address? {
        guard let known = jobNetwork else { return nil }
        switch known.own(of: JobNetwork.addresses()) {
        case .success(let address): return address
        case .failure(let fault):
            throw .badInput("\(name): \(fault.fact(network)); \(fault.remedy)")
        }
    }

    /// Takes the device of this machine in the job's network as the device of the transport.
    ///
    /// - Parameter name: What messages call this process and its machine.
    /// - Throws: `ClusterError.badInput` as `ownAddress` says.
    public mutating func takeDevice(as name: String) throws(ClusterError) {
        if let own = try ownAddress(as: name) { device = own.device }
    }
}
