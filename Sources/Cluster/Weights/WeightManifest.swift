import Encoding
import Foundation

/// The files of a model's folder that a source gives, by their numbers.
public struct WeightManifest: Codable, Equatable, Sendable {
    /// A file.
    public struct File: Codable, Equatable, Sendable {
        /// Its name in the folder.
        public let name: String
        /// Its size.
        public let bytes: Int
    }

    /// In the order of their numbers.
    public let files: [File]
    /// A digest that folders with other models do not have.
    public let content: String

    /// The files of a folder; those with names that no receiver takes are left out.
    public init(_ files: [(name: String, bytes: Int)], content: String) {
        self.content = content
        self.files = files.filter { Self.isPlain($0.name) }.map {
            File(name: $0.name, bytes: $0.bytes)
        }
    }

    /// Reads what a source sent.
    ///
    /// - Throws: `ClusterError.badInput` for names that would leave a folder, and beyond limits.
    init(decoding bytes: [UInt8]) throws(ClusterError) {
        do {
            self = try JSONDecoder().decode(WeightManifest.self, from: Data(bytes))
        } catch {
            throw .badInput("its list of files is none: \(error)")
        }
        guard files.count <= WeightProtocol.mostFiles else {
            throw .badInput("\(files.count) files: the limit is \(WeightProtocol.mostFiles)")
        }
        guard content.utf8.count <= WeightProtocol.longestContent else {
            throw .badInput(
                "its content has \(content.utf8.count) bytes: the limit is"
                    + " \(WeightProtocol.longestContent)")
        }
        for file in files where !Self.isPlain(file.name) || !(0 ... 1 << 50).contains(file.bytes) {
            throw .badInput(
                "\(file.name.printable()) of \(file.bytes) bytes is no file of a checkpoint")
        }
        guard Set(files.map(\.name)).count == files.count else {
            throw .badInput("a file stands twice in its list")
        }
    }

    /// Whether a name stays in its folder and is no hidden file.
    private static func isPlain(_ name: String) -> Bool {
        (1 ... WeightProtocol.longestName).contains(name.utf8.count) && !name.hasPrefix(".")
            && name.allSatisfy {
                $0.isASCII && ($0.isLetter || $0.isNumber || "._-+=@ ".contains($0))
            }
    }

    func encoded() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return Array(try encoder.encode(self))
    }
}
