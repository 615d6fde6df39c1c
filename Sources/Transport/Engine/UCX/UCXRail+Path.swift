import CFabric
import Topology

extension UCXRail {
    /// The transports and devices of a rank's endpoint, as `tcp/plane0,tcp/plane1`.
    func transports(to remote: Rank) -> String {
        guard let endpoint = unsafe endpoints[remote.rawValue] else { return "" }
        var text = [CChar](repeating: 0, count: 4096)
        unsafe text.withUnsafeMutableBufferPointer {
            unsafe fabric_endpoint_info(endpoint, $0.baseAddress, $0.count)
        }
        let bytes = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return EndpointInfo.transports(in: String(decoding: bytes, as: UTF8.self))
    }
}

/// Reads the lanes out of what `ucp_ep_print_info` prints.
enum EndpointInfo {
    /// A lane's line names its transport as `1:tcp/eth0.0`; each is given once, in order.
    static func transports(in text: String) -> String {
        var found: [String] = []
        for line in text.split(separator: "\n") where line.contains("lane[") {
            let words = line.split(separator: " ")
            guard let word = words.first(where: { $0.contains("/") && $0.contains(":") }),
                let name = word.split(separator: ":").last?.split(separator: ".").first
            else { continue }
            if !found.contains(String(name)) { found.append(String(name)) }
        }
        return found.joined(separator: ",")
    }
}
