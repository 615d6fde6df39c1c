import Foundation
import Testing

@testable import Topology

/// Machines as their kernel's files show them.
@Suite struct MachineSurveyTests {
    /// Two sockets, a NIC with an RDMA device, a virtual device, and a NIC whose link is down.
    private static func root() throws -> URL {
        let root = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        var files = [
            "proc/sys/kernel/hostname": "epyc_1\n", "proc/meminfo": "MemTotal:  100000000 kB\n",
            "sys/class/net/eth0/speed": "100000\n", "sys/class/net/eth0/mtu": "9000\n",
            "sys/class/net/eth0/device/numa_node": "1\n", "sys/class/net/lo/mtu": "65536\n",
            "sys/class/net/eth1/speed": "-1\n", "sys/class/net/eth1/device/numa_node": "-1\n",
            "sys/class/infiniband/mlx5_0/device/net/eth0/x": "",
            "sys/class/infiniband/mlx5_0/ports/1/rate": "100 Gb/sec (4X EDR)\n",
            "sys/devices/system/node/node0/cpulist": "0-1\n",
            "sys/devices/system/node/node1/cpulist": "2-3\n",
            "sys/devices/system/node/possible": "0-1\n",
        ]
        for cpu in 0 ..< 4 {
            files["sys/devices/system/cpu/cpu\(cpu)/topology/physical_package_id"] = "\(cpu / 2)\n"
        }
        for (name, text) in files {
            let file = root.appending(path: name)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        return root
    }

    @Test func `cores, NUMA domains, NICs and their devices are read`() throws {
        let root = try Self.root()
        defer { try? FileManager.default.removeItem(at: root) }
        let survey = MachineSurvey(root: root.path(percentEncoded: false))
        #expect(survey.cores == 4 && survey.sockets == 2 && survey.numaDomains == 2)
        #expect(survey.cards.map(\.name) == ["eth0", "eth1"])
        #expect(survey.cards[0].bitsPerSecond == 100e9 && survey.cards[0].numaDomain == 1)
        #expect(survey.cards[0].deviceName == "mlx5_0" && survey.cards[1].bitsPerSecond == nil)
        let map = try NodeMap(yaml: survey.yaml, path: "found.yaml")
        #expect(map.name == "epyc-1" && map.nodes[0].ranks == 2)
        #expect(map.planes.map(\.bandwidthBitsPerSecond) == [100e9])
        #expect(map.hardware?.machine?.cores == 4)
    }

    @Test func `an empty tree and this machine give files that load`() throws {
        for root in ["/no/such/folder", "/"] {
            let text = MachineSurvey(root: root).yaml
            #expect(try NodeMap(yaml: text, path: root).rankCount >= 1)
        }
    }
}
