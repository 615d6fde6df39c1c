import Foundation
import Tensors

/// Which level's loops each kind of product takes, and why.
struct KernelChoiceReport: Codable {
    /// One kind of product.
    struct Kind: Codable {
        let kind: String
        let level: String
        /// Levels with the same name here give the same bits.
        let arithmetic: String
        let times: [Time]
    }

    /// What one level took, on one thread.
    struct Time: Codable {
        let level: String
        let oneRowMicroseconds: Double
        let manyRowsMicroseconds: Double
    }

    /// Where the choice comes from, as a sentence.
    let origin: String
    let kinds: [Kind]

    init(_ choice: KernelChoice) {
        origin =
            switch choice.origin {
            case .pinned: "APUS_CPU names the level of all products"
            case .only: "this CPU has one level"
            case .remembered(let path): "levels by the times in \(path)"
            case .measured(nil): "levels by times measured now, and remembered"
            case .measured(let reason?): "levels by times measured now, not remembered: \(reason)"
            }
        kinds = ProductKind.allCases.map { kind in
            let level = choice.levels[kind] ?? .inUse
            return Kind(
                kind: kind.rawValue, level: level.rawValue,
                arithmetic: Arithmetic(of: level, kind).rawValue,
                times: choice.times.filter { $0.kind == kind }.map {
                    Time(
                        level: $0.level.rawValue, oneRowMicroseconds: $0.oneRowSeconds * 1e6,
                        manyRowsMicroseconds: $0.manyRowsSeconds * 1e6)
                })
        }
    }

    /// For people: a line per kind.
    var lines: [String] {
        [origin] + (kinds.contains { !$0.times.isEmpty } ? [Self.head] : [])
            + kinds.map { kind in
                let times = kind.times.map {
                    String(
                        format: "%@ %.1f/%.0f", $0.level, $0.oneRowMicroseconds,
                        $0.manyRowsMicroseconds)
                }
                func padded(_ text: String, _ width: Int) -> String {
                    text + String(repeating: " ", count: max(1, width - text.count))
                }
                return padded(kind.kind, 13) + padded(kind.level, 13) + padded(kind.arithmetic, 10)
                    + times.joined(separator: ", ")
            } + [""]
    }

    private static let head = "products     level        sums      us of one row/many rows"
}
