import Encoding
import Foundation
package import Models
import Planner

/// Finds the configuration that `--model` names.
package enum ShareModel {
    /// A `config.json` is read up to this size; published ones have 2 kB.
    private static let byteLimit = 1_000_000

    /// A published model by its name, a `config.json`, or a folder that holds one.
    ///
    /// - Throws: `PlanError.model` for a name that is neither, or a model without routed experts;
    ///   `ModelError` for a configuration that is not run.
    package static func configuration(_ name: String) throws -> ModelConfiguration {
        if let published = try ModelConfiguration.published(name) { return published }
        if let shape = ModelShape.published.first(where: { $0.name == name.lowercased() }) {
            throw PlanError.model(
                file: shape.name, key: "num_experts",
                fact: "is 0: a model without routed experts has no share to measure")
        }
        guard FileManager.default.fileExists(atPath: name) else {
            throw PlanError.model(
                file: name.printable(), key: "--model",
                fact: "is neither a file nor a folder, nor a published model's name; nearest are "
                    + nearest(name).joined(separator: ", "))
        }
        guard name.hasSuffix(".json") else { return try ModelConfiguration.load(directory: name) }
        let data = try WholeFile.read(name, limit: byteLimit) {
            PlanError.model(file: name.printable(), key: "the file", fact: "\($0)")
        }
        return try ModelConfiguration.parse(data, file: name)
    }

    /// Names of published models, the most alike first.
    static func nearest(_ name: String) -> [String] {
        let wanted = name.lowercased().prefix(64)
        let ranked = ModelConfiguration.publishedNames.map { ($0, distance($0[...], wanted)) }
        return ranked.sorted { ($0.1, $0.0) < ($1.1, $1.0) }.map(\.0)
    }

    /// Letters to put in, take out or exchange (Levenshtein, 1965).
    private static func distance(_ a: Substring, _ b: Substring) -> Int {
        let b = Array(b)
        var row = Array(0 ... b.count)
        for (i, letter) in a.enumerated() {
            var corner = row[0]
            row[0] = i + 1
            for j in b.indices {
                let cost = corner + (b[j] == letter ? 0 : 1)
                corner = row[j + 1]
                row[j + 1] = min(cost, min(corner, row[j]) + 1)
            }
        }
        return row[b.count]
    }
}
