import Topology

/// Names of hosts as clusters write them: `node[01-16,20],gpu1`.
enum HostList {
    /// Every host of a list, in its order.
    ///
    /// A bracket holds numbers and ranges of numbers, and keeps leading zeros. A name may have
    /// several brackets.
    ///
    /// - Parameter source: Where the list stands, for messages.
    /// - Throws: `ClusterError.badInput` with the list and what is wrong in it.
    static func expand(_ text: String, source: String) throws(ClusterError) -> [String] {
        var names: [String] = []
        for item in try items(text, source) {
            names += try expandItem(item, text, source)
            guard names.count <= Rank.maximumCount else {
                throw .badInput(
                    "\(source) \"\(text)\" has more than \(Rank.maximumCount) hosts: the most"
                        + " ranks of a job")
            }
        }
        return names
    }

    /// What stands between commas outside brackets.
    private static func items(_ text: String, _ source: String) throws(ClusterError) -> [String] {
        var items = [""]
        var isInside = false
        for character in text where !character.isWhitespace {
            switch character {
            case "[" where !isInside: isInside = true
            case "]" where isInside: isInside = false
            case "[", "]": throw unbalanced(text, source)
            case "," where !isInside:
                items.append("")
                continue
            default: break
            }
            items[items.count - 1].append(character)
        }
        guard !isInside else { throw unbalanced(text, source) }
        guard !items.contains("") else {
            throw .badInput("\(source) \"\(text)\" has an empty name of a host")
        }
        return items
    }

    private static func expandItem(
        _ item: String, _ text: String, _ source: String
    ) throws(ClusterError) -> [String] {
        guard let open = item.firstIndex(of: "["), let close = item.firstIndex(of: "]") else {
            return [item]
        }
        let rest = try expandItem(String(item[item.index(after: close)...]), text, source)
        var names: [String] = []
        for range in item[item.index(after: open) ..< close].split(
            separator: ",", omittingEmptySubsequences: false)
        {
            for number in try numbers(range, text, source) {
                names += rest.map { item[..<open] + number + $0 }
                // One more than a job may have is enough for the caller to refuse the list.
                guard names.count <= Rank.maximumCount else { return names }
            }
        }
        return names
    }

    private static func numbers(
        _ range: Substring, _ text: String, _ source: String
    ) throws(ClusterError) -> [String] {
        let ends = range.split(separator: "-", omittingEmptySubsequences: false)
        guard (1 ... 2).contains(ends.count), ends.allSatisfy({ $0.allSatisfy(\.isNumber) }),
            let first = Int(ends[0]), let last = Int(ends[ends.count - 1]), first <= last
        else {
            throw .badInput(
                "\(source) \"\(text)\": [\(range)] is neither a number nor a range as 01-16")
        }
        return (first ... first + min(last - first, Rank.maximumCount)).map { number in
            let digits = "\(number)"
            return String(repeating: "0", count: max(0, ends[0].count - digits.count)) + digits
        }
    }

    private static func unbalanced(_ text: String, _ source: String) -> ClusterError {
        .badInput("\(source) \"\(text)\" has a bracket without its other half")
    }
}
