/// Links in the order of the rate that each could still give, the least first.
///
/// Equal rates come in the order of link numbers, so that every machine computes the same.
struct LinkHeap {
    private var entries: [(share: Double, link: Int32)] = []

    mutating func removeAll() { entries.removeAll(keepingCapacity: true) }

    mutating func push(_ link: Int32, _ share: Double) {
        entries.append((share, link))
        var place = entries.count - 1
        while place > 0, isBefore(place, (place - 1) / 2) {
            entries.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    mutating func pop() -> (link: Int32, share: Double)? {
        guard let first = entries.first else { return nil }
        entries.swapAt(0, entries.count - 1)
        entries.removeLast()
        var place = 0
        while true {
            var least = place
            for child in [2 * place + 1, 2 * place + 2]
            where child < entries.count && isBefore(child, least) { least = child }
            if least == place { return (first.link, first.share) }
            entries.swapAt(place, least)
            place = least
        }
    }

    private func isBefore(_ one: Int, _ other: Int) -> Bool {
        (entries[one].share, entries[one].link) < (entries[other].share, entries[other].link)
    }
}
