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
