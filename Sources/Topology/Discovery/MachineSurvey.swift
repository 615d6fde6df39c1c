import Foundation

/// What the kernel says of the machine it runs on: cores, NUMA domains, memory, NICs and RDMA
/// devices.
package struct MachineSurvey: Sendable {
    /// A NIC of the machine that is no virtual device.
    package struct Card: Sendable, Hashable {
        /// As the kernel calls it.
        package let name: String
        /// Rate, nil where the link is down or does not say.
        package let bitsPerSecond: Double?
        /// The NUMA domain that it is plugged into, nil where the kernel does not say.
        package let numaDomain: Int?
        /// Largest packet.
        package let maximumPacketBytes: Int
        /// The RDMA device of the same card.
        package let deviceName: String?
    }

    /// What the machine calls itself.
    package private(set) var name: String
    /// Cores that the kernel may use.
    package private(set) var cores: Int
    /// Sockets.
    package private(set) var sockets: Int
    /// NUMA domains that have cores.
    package private(set) var numaDomains: Int
    /// Memory in bytes.
    package private(set) var memoryBytes: Double
    /// In order of their names.
    package private(set) var cards: [Card]

    /// Reads `/sys` and `/proc` below `root`.
    package init(root: String = "/") {
        let files = SystemFiles(root: root)
        name = files.text("proc/sys/kernel/hostname") ?? "machine"
        let numbers = files.names("sys/devices/system/cpu").filter {
            $0.hasPrefix("cpu") && Int($0.dropFirst(3)) != nil
        }
        cores = max(1, numbers.count)
        let packages = numbers.compactMap {
            files.text("sys/devices/system/cpu/\($0)/topology/physical_package_id")
        }
        sockets = max(1, Set(packages).count)
        numaDomains = max(
            1,
            files.names("sys/devices/system/node").count {
                $0.hasPrefix("node") && Int($0.dropFirst(4)) != nil
                    && files.text("sys/devices/system/node/\($0)/cpulist")?.isEmpty == false
            })
        memoryBytes = Double(files.number("MemTotal:", in: "proc/meminfo") ?? 0) * 1024
        let devices = files.names("sys/class/infiniband")
        cards = files.names("sys/class/net").compactMap { card in
            Self.card(card, devices, files)
        }
    }

    private static func card(
        _ name: String, _ devices: [String], _ files: SystemFiles
    ) -> Card? {
        let folder = "sys/class/net/\(name)"
        guard files.isThere(folder + "/device") else { return nil }
        let device = devices.first {
            files.names("sys/class/infiniband/\($0)/device/net").contains(name)
        }
        let ethernet = files.text(folder + "/speed").flatMap { Double($0) }.map { $0 * 1e6 }
        // "100 Gb/sec (4X EDR)"
        let infiniBand = device.flatMap {
            files.text("sys/class/infiniband/\($0)/ports/1/rate")?.split(separator: " ").first
        }.flatMap { Double($0) }.map { $0 * 1e9 }
        let rate = (ethernet ?? 0) > 0 ? ethernet : infiniBand
        let domain = files.text(folder + "/device/numa_node").flatMap { Int($0) }
        return Card(
            name: name, bitsPerSecond: rate, numaDomain: (domain ?? -1) >= 0 ? domain : nil,
            maximumPacketBytes: files.text(folder + "/mtu").flatMap { Int($0) } ?? 1500,
            deviceName: device)
    }

    /// The text of a topology file of this one machine, a rank for each NUMA domain.
    ///
    /// Rates of computing are not in the kernel's files, so comments say how to measure them.
    package var yaml: String {
        let plain = String(name.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" })
        let host = plain.trimmingPrefix { $0 == "-" }.prefix(32)
        var lines = [
            "# Written by apus topology discover from what the kernel says. Add the other nodes.",
            "name: \(host.isEmpty ? "machine" : host)", "nodes:",
            "  - {name: node0, ranks: \(numaDomains)}", "planes:",
        ]
        let rated = cards.filter { $0.bitsPerSecond != nil }
        for card in rated {
            let place = card.numaDomain.map { ", NUMA domain \($0)" } ?? ""
            let device = card.deviceName.map { ", RDMA device \($0)" } ?? ""
            let short = String(card.name.map { $0.isLetter || $0.isNumber ? $0 : "-" }.prefix(15))
            let rate = (card.bitsPerSecond ?? 0) / 1e9
            let bytes = min(65535, max(576, card.maximumPacketBytes))
            lines.append("  # \(card.name)\(place)\(device)")
            lines.append(
                "  - {name: \(short), gigabitsPerSecond: \(Self.number(rate)), "
                    + "maximumPacketBytes: \(bytes)}")
        }
        if rated.isEmpty {
            lines.append("  # The kernel gives no NIC's rate: write gigabitsPerSecond.")
            lines.append("  - {name: plane0}")
        }
        lines.append(
            "machine: {sockets: \(sockets), numaDomains: \(numaDomains), cores: \(cores)}")
        let share = memoryBytes / Double(numaDomains) / 1e9
        lines += [
            "# apus bench kernels and bench model measure the rates, apus bench link the links:",
            "# processor:", "#   kind: \(cores / numaDomains) cores",
            "#   memoryGigabytes: \(Self.number((share * 10).rounded(.down) / 10))",
            "#   memoryGigabytesPerSecond: ...", "#   bf16TeraflopsPerSecond: ...",
            "# intranode: {kind: shm, gigabytesPerSecond: ...}",
        ]
        return lines.joined(separator: "\n") + "\n"
    }

    private static func number(_ value: Double) -> String {
        value == value.rounded() ? "\(Int(value))" : "\(value)"
    }
}
