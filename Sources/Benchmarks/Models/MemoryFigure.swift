import Foundation
import Models
import Serving
import Topology

extension ModelBenchmark {
    /// Memory at its fullest, in bytes: who holds it.
    public struct MemoryFigure: Sendable, Codable {
        /// Packed weights.
        public var weights = 0
        /// Pages of the checkpoint's files that are mapped here: embeddings of tokens that came.
        public var mappedWeights = 0
        /// The latent cache.
        public var cache = 0
        /// The largest tensor of activations.
        public var largestActivation = 0
        /// What the system counts as resident, all of the program included.
        public var resident = 0
        /// The most that was resident while the weights were loaded; 0 unless it was measured.
        public var peakLoading = 0

        /// Everything that is neither weights nor cache.
        public var beyond: Int { resident - weights - mappedWeights - cache }

        /// What `beyond` may be: 200 MB and the largest activation.
        public var limit: Int { Self.allowance + largestActivation }

        /// The program, its libraries, scratch and all activations but the largest.
        private static let allowance = 200_000_000

        /// No figures yet.
        public init() {}

        /// Keeps what the process holds now if that is the most so far.
        mutating func note(_ model: Model, cache: Int) {
            let now = ResidentMemory.now
            guard now > resident else { return }
            weights = model.packedByteCount
            mappedWeights = ResidentMemory.mapped(from: model.checkpointPaths)
            largestActivation = model.largestActivationBytes
            (self.cache, resident) = (cache, now)
        }
    }
}

/// What the system counts as this process's memory; 0 where it keeps no count.
public enum ResidentMemory {
    /// Bytes that are resident now.
    public static var now: Int { files.residentBytes(of: "self") }

    /// The most bytes that were resident at once since the start, or since `forgetPeak`.
    public static var peak: Int { bytes(of: "VmHWM:", in: "proc/self/status") }

    /// Lets `peak` begin anew from what is resident now; where the system refuses, it stays.
    public static func forgetPeak() {
        guard let file = FileHandle(forWritingAtPath: "/proc/self/clear_refs") else { return }
        file.write(Data("5".utf8))
    }

    /// Bytes that this process can have without swapping, files' pages included.
    public static var free: Int { MachineMemory.free() ?? 0 }

    /// Bytes of some files that are mapped and resident now.
    static func mapped(from paths: [String]) -> Int {
        guard let map = files.text("proc/self/smaps") else { return 0 }
        let names = Set(paths.map { URL(filePath: $0).resolvingSymlinksInPath().path })
        var isOurs = false
        var total = 0
        for line in map.split(separator: "\n") {
            if line.hasPrefix("Rss:") {
                guard isOurs, let size = line.split(separator: " ").dropFirst().first else {
                    continue
                }
                total += (Int(size) ?? 0) << 10
            } else if let path = line.firstIndex(of: "/") {
                isOurs = names.contains(String(line[path...]))
            } else if line.first?.isUppercase == false {
                isOurs = false
            }
        }
        return total
    }

    private static func bytes(of key: String, in file: String) -> Int {
        files.number(key, in: file).map { $0 << 10 } ?? 0
    }

    private static let files = SystemFiles()
}
