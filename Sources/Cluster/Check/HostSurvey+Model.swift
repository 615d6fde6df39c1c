import Encoding
import Foundation

extension HostSurvey.Model {
    /// Reads a model's folder.
    ///
    /// - Parameter isWhole: Also reads every file that `Fingerprint.ofModel` reads, and the index.
    init(folder: String, isWhole: Bool) {
        path = folder
        let root = URL(filePath: folder)
        guard
            let names = try? FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        else {
            faults = ["there is no such folder"]
            isAbsent = true
            return
        }
        guard names.contains("config.json") else {
            faults = ["the folder holds no config.json"]
            isAbsent = true
            return
        }
        for name in names where name.hasSuffix(".safetensors") || name.hasSuffix(".json") {
            guard name != Fingerprint.expectedResults else { continue }
            let file = root.appending(path: name).resolvingSymlinksInPath()
            guard let size = try? file.resourceValues(forKeys: [.fileSizeKey]).fileSize else {
                faults.append("\(name) cannot be read")
                continue
            }
            files[name] = "\(size) bytes"
            guard name.hasSuffix(".safetensors") else { continue }
            weightBytes += size
            if let fault = Self.fault(of: file, size: size) { faults.append("\(name) \(fault)") }
        }
        guard isWhole else { return }
        do throws(ClusterError) {
            files = try Fingerprint.ofModel(folder)
        } catch {
            faults.append("\(error)")
        }
        let missing = Self.indexed(root).subtracting(names)
        if let first = missing.min() {
            faults.append("\(first) is missing (model.safetensors.index.json)")
        }
    }

    /// Files that the index of the weights names.
    private static func indexed(_ root: URL) -> Set<String> {
        struct Index: Decodable {
            let map: [String: String]
            enum CodingKeys: String, CodingKey { case map = "weight_map" }
        }
        let file = root.appending(path: "model.safetensors.index.json")
        guard let bytes = try? Data(contentsOf: file),
            let index = try? JSONDecoder().decode(Index.self, from: bytes)
        else { return [] }
        return Set(index.map.values)
    }

    /// Bytes of the largest header that is read: far above that of any published file.
    private static let largestHeader = 100 << 20

    /// What is wrong with the length of a safetensors file.
    ///
    /// The header says where the last tensor ends, and the file ends there.
    static func fault(of file: URL, size: Int) -> String? {
        guard let handle = try? FileHandle(forReadingFrom: file) else { return "cannot be read" }
        defer { try? handle.close() }
        guard let prefix = try? handle.read(upToCount: 8), prefix.count == 8 else {
            return "has \(size) bytes: a safetensors file has at least 8"
        }
        let length = prefix.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard length <= largestHeader else {
            return "says that its header has \(length) bytes: the limit is \(largestHeader)"
        }
        guard let header = try? handle.read(upToCount: Int(length)), header.count == Int(length)
        else { return "is cut short: it has \(size) bytes, and its header has \(length)" }
        let whole = 8 + Int(length) + lastEnd(header)
        return size < whole
            ? "is cut short: it has \(size) bytes of \(whole) (its header says so)" : nil
    }

    /// The greatest second number behind `data_offsets`.
    ///
    /// A header holds thousands of tensors, of which this is all that is wanted.
    private static func lastEnd(_ header: Data) -> Int {
        let text = String(decoding: header, as: UTF8.self)
        var last = 0
        for piece in text.split(separator: "\"data_offsets\"").dropFirst() {
            let numbers = piece.prefix { $0 != "]" }.split { !$0.isASCII || !$0.isNumber }
            if numbers.count == 2, let end = Int(numbers[1]) { last = max(last, end) }
        }
        return last
    }
}
