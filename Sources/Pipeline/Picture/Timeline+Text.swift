import Topology

extension Timeline {
    /// Draws one row of text per rank, every row on the same time axis.
    ///
    /// A cell begins with its label and is filled with `-`; idle time is blank.
    ///
    /// - Parameter columns: The most characters of time axis; long timelines are scaled to fit
    ///   unless labels would no longer be readable.
    public func text(columns: Int = 4096) -> String {
        let compute = entries.filter { $0.lane == .compute && $0.end > $0.start }
        let charactersPerUnit = textScale(compute, columns: columns)
        let rankDigits = "\(max(0, rankCount - 1))".count
        var lines = ["\(title)"]
        for rank in 0 ..< rankCount {
            let mine = compute.filter { $0.rank.rawValue == rank }.sorted { $0.start < $1.start }
            var line = ""
            for entry in mine {
                let start = Int((entry.start * charactersPerUnit).rounded())
                let end = Int((entry.end * charactersPerUnit).rounded())
                line += String(repeating: " ", count: max(0, start - line.count))
                let room = max(0, end - line.count)
                let label = "|" + entry.label
                line += String((label + String(repeating: "-", count: room)).prefix(room))
            }
            let number = "\(rank)"
            let padding = String(repeating: " ", count: rankDigits - number.count)
            lines.append("rank \(padding)\(number) \(line)|")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Wide enough that every label is whole, but within `columns` if that leaves two characters.
    private func textScale(_ compute: [TimelineEntry], columns: Int) -> Double {
        let wanted = compute.map { Double($0.label.count + 2) / ($0.end - $0.start) }.max() ?? 1
        let shortest = compute.map { $0.end - $0.start }.min() ?? 1
        return max(2 / shortest, min(wanted, Double(columns) / max(end, shortest)))
    }
}
