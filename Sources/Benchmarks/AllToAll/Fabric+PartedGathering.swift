import Transport

extension Fabric {
    /// What a part holds at most: half of what one gathering takes.
    private static var partBytes: Int { 512 << 10 }

    /// Gives every rank the blobs of all, in rank order, however long they are. Collective.
    ///
    /// First their lengths, then as many parts as the longest needs: measurements of 10,000
    /// iterations are more than one gathering takes.
    func allGatherInParts(
        _ blob: [UInt8], label: String, deadline: Deadline
    ) throws -> [[UInt8]] {
        let word = (0 ..< 8).map { UInt8(truncatingIfNeeded: blob.count >> (8 * $0)) }
        let lengths = try allGather(word, label: "\(label): lengths", deadline: deadline).map {
            $0.reversed().reduce(0) { $0 << 8 | Int($1) }
        }
        var whole = [[UInt8]](repeating: [], count: lengths.count)
        var start = 0
        while start < lengths.max() ?? 0 {
            let part = blob[min(start, blob.count) ..< min(start + Self.partBytes, blob.count)]
            let label = "\(label) from byte \(start)"
            for (index, part) in try allGather(Array(part), label: label, deadline: deadline)
                .enumerated()
            {
                whole[index] += part
            }
            start += Self.partBytes
        }
        return whole
    }
}
