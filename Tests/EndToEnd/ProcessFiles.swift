import Foundation
import Topology

/// What the kernel says of processes and their sockets (proc(5)).
enum ProcessFiles {
    private static let files = SystemFiles()

    /// Every process of this machine.
    static func all() -> [Int32] { files.names("proc").compactMap { Int32($0) } }

    /// The words that a process was started with; none when it is gone.
    static func words(of process: Int32) -> [String] { list("cmdline", process) }

    /// Its environment when it was started, `NAME=value` each.
    static func variables(of process: Int32) -> [String] { list("environ", process) }

    private static func list(_ name: String, _ process: Int32) -> [String] {
        (files.text("proc/\(process)/\(name)") ?? "").split(separator: "\0").map(String.init)
    }

    /// A TCP socket of a network namespace.
    struct Socket {
        let port: Int?
        let peerPort: Int?
        let isListening: Bool
        let isConnected: Bool
        fileprivate let inode: Substring
    }

    /// The TCP sockets in this process's network.
    static func sockets() -> [Socket] { sockets(inNetworkOf: "self") }

    /// The TCP sockets that a process has open.
    static func sockets(of process: Int32) -> [Socket] {
        let folder = "proc/\(process)/fd"
        let open = Set(
            files.names(folder).compactMap {
                try? FileManager.default.destinationOfSymbolicLink(atPath: "/\(folder)/\($0)")
            })
        return sockets(inNetworkOf: "\(process)").filter { open.contains("socket:[\($0.inode)]") }
    }

    /// Bytes that left the network of a process by all of its devices.
    static func bytesSent(inNetworkOf process: Int32) -> Int {
        (files.text("proc/\(process)/net/dev") ?? "").split(separator: "\n").dropFirst(2)
            .compactMap { line -> Int? in
                // After the device's name: eight figures of what came, then bytes that left.
                let words = line.split(separator: ":").last?.split(separator: " ") ?? []
                return words.count > 8 ? Int(words[8]) : nil
            }.reduce(0, +)
    }

    private static func sockets(inNetworkOf process: String) -> [Socket] {
        ["tcp", "tcp6"].flatMap { table in
            (files.text("proc/\(process)/net/\(table)") ?? "").split(separator: "\n").dropFirst()
        }.compactMap { line in
            let words = line.split(separator: " ")
            guard words.count > 9 else { return nil }
            return Socket(
                port: port(words[1]), peerPort: port(words[2]), isListening: words[3] == "0A",
                isConnected: words[3] == "01", inode: words[9])
        }
    }

    private static func port(_ address: Substring) -> Int? {
        address.split(separator: ":").last.flatMap { Int($0, radix: 16) }
    }
}
