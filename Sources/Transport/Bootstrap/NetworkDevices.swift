import CFabric
import Glibc

/// The network interfaces of this node.
enum NetworkDevices {
    /// Throws for the first of a comma-separated list that is not here.
    static func check(_ list: String) throws(TransportError) {
        let here = names()
        for name in list.split(separator: ",") where !here.contains(String(name)) {
            throw .unavailable(
                "no network device \(name): this node has \(here.joined(separator: ", "))")
        }
    }

    /// The devices that the user, or the lab in `APUS_DEVICES`, names: a plane each. None leaves
    /// the choice to the core.
    static func chosen(_ configuration: FabricConfiguration) throws(TransportError) -> [String] {
        let named = unsafe getenv("APUS_DEVICES").map { unsafe String(cString: $0) }
        guard let list = configuration.device ?? named else { return [] }
        try check(list)
        return list.split(separator: ",").map(String.init)
    }

    static func names() -> [String] {
        guard let list = unsafe if_nameindex() else { return [] }
        defer { unsafe if_freenameindex(list) }
        var names: [String] = []
        var entry = unsafe list
        while let name = unsafe entry.pointee.if_name {
            names.append(unsafe String(cString: name))
            unsafe entry += 1
        }
        return names
    }
}
