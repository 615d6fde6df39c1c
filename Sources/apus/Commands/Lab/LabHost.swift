import Foundation
import Topology
import Transport

/// A node of a lab, as Open MPI must be told of it: by an address, and by the namespace behind it.
struct LabHost: Codable, Hashable {
    let address: String
    let namespace: String
    let devices: String
    var rankCount = 1

    /// The nodes of the lab in which these ranks run, in order of rank; empty outside a lab.
    /// Collective.
    static func all(_ fabric: any Fabric) throws -> [LabHost] {
        let variables = ProcessInfo.processInfo.environment
        var own: [LabHost] = []
        if let lab = variables["APUS_LAB"], let node = variables["APUS_NODE_NAME"],
            let address = variables["APUS_ADDRESSES"]?.split(separator: ",").first
        {
            own = [
                LabHost(
                    address: String(address), namespace: "apus-\(lab)-\(node)",
                    devices: variables["APUS_DEVICES"] ?? "")
            ]
        }
        let blobs = try fabric.allGather(
            Array(JSONEncoder().encode(own)), label: "hosts",
            deadline: fabric.deadline(.seconds(60), "hosts"))
        var hosts: [LabHost] = []
        for blob in blobs {
            for host in try JSONDecoder().decode([LabHost].self, from: Data(blob)) {
                if hosts.last?.namespace == host.namespace {
                    hosts[hosts.count - 1].rankCount += 1
                } else {
                    hosts.append(host)
                }
            }
        }
        return hosts
    }

    /// The words that start mpirun, up to its own options: across the namespaces of a lab, else
    /// on this machine.
    ///
    /// In a lab a script stands for ssh: it enters the namespace of an address. Every node gets a
    /// host name of its own, by which Open MPI tells nodes apart.
    static func mpirun(on hosts: [LabHost], folder: URL) throws -> [String] {
        guard let first = hosts.first else { return ["mpirun"] }
        let script = folder.appending(path: "enter-node")
        let cases = hosts.map { "    \($0.address)) node=\($0.namespace) ;;" }
        let text = """
            #!/bin/sh
            # Runs a command on the node of a lab that has an address: enter-node ADDRESS COMMAND
            case $1 in
            \(cases.joined(separator: "\n"))
                *) echo "no node has address $1" >&2; exit 1 ;;
            esac
            shift
            exec ip netns exec "$node" unshare --uts sh -c 'hostname "$0" && eval "$1"' "$node" "$*"

            """
        let path = script.path(percentEncoded: false)
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: path)
        let list = hosts.map { "\($0.address):\($0.rankCount)" }.joined(separator: ",")
        let device = first.devices.split(separator: ",").first.map(String.init) ?? ""
        // Open MPI counts ranks against cores on each node, and the nodes share these.
        let ranks = hosts.reduce(0) { $0 + $1.rankCount }
        let yields = ranks > ProcessInfo.processInfo.activeProcessorCount ? "1" : "0"
        return [
            "unshare", "--uts", "sh", "-c", "hostname \"$0\" && exec \"$@\"", first.namespace,
            "mpirun", "--host", list, "--mca", "plm_rsh_agent", path,
            "--mca", "oob_tcp_if_include", device, "--mca", "btl_tcp_if_include", first.devices,
            "--mca", "mpi_yield_when_idle", yields, "-x", "UCX_NET_DEVICES=\(first.devices)",
            "-x", "UCX_MAX_RNDV_RAILS=2", "-x", "UCX_MAX_EAGER_RAILS=2",
        ]
    }
}
