import Encoding

/// The index of a sharded checkpoint: which file holds each tensor.
enum CheckpointIndex {
    /// The largest index that is read: DeepSeek-V3's is 9 MB.
    static let byteLimit = 256_000_000

    /// Parses an index and refuses names that would leave the folder.
    static func parse(_ json: [UInt8], file: String) throws -> [String: String] {
        var map: [String: String]?
        var reader = JSONReader(json)
        do {
            try reader.object { key, reader in
                guard key == "weight_map" else { return try reader.skip() }
                var names: [String: String] = [:]
                try reader.object { tensor, reader in
                    let shard = try reader.string()
                    guard shard.hasSuffix(".safetensors"), !shard.contains("/"),
                        !shard.contains("\0")
                    else {
                        throw CheckpointError.tensor(
                            file: file, name: tensor.printable(),
                            fact: "shard \(shard.printable()) is not a .safetensors file name")
                    }
                    names[tensor] = shard
                }
                map = names
            }
            try reader.end()
        } catch let fault as JSONError {
            throw CheckpointError.file(file, fact: "\(fault)")
        }
        guard let map, !map.isEmpty else {
            throw CheckpointError.file(file, fact: "weight_map is missing or empty")
        }
        return map
    }
}
