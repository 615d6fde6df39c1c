import Foundation

extension ModelBenchmark.MemoryFigure {
    /// Keeps what the process holds now if that is the most so far.
    mutating func note(weights: Int, cache: Int) {
        let now = Self.residentBytes()
        guard now > resident else { return }
        (self.weights, self.cache, resident) = (weights, cache, now)
    }

    /// The system's count, 0 where it keeps none.
    private static func residentBytes() -> Int {
        guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmRSS:") }),
            let kibibytes = line.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
        else { return 0 }
        return kibibytes << 10
    }
}
