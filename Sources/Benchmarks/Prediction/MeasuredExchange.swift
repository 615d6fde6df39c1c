import Collectives
import Foundation

/// What `apus bench all-to-all --json` measured of one setting.
package struct MeasuredExchange: Codable, Hashable, Sendable {
    package struct Half: Codable, Hashable, Sendable {
        /// Median over iterations, of the slowest rank of each.
        let p50Microseconds: Double
    }

    /// Rows that were not what brute force gives.
    package let wrong: Int
    let dispatch: Half
    let combine: Half

    package init(dispatchMicroseconds: Double, combineMicroseconds: Double) {
        wrong = 0
        dispatch = Half(p50Microseconds: dispatchMicroseconds)
        combine = Half(p50Microseconds: combineMicroseconds)
    }

    /// - Throws: `DecodingError` for anything else.
    package init(json: String) throws {
        self = try JSONDecoder().decode(Self.self, from: Data(json.utf8))
    }

    func seconds(_ half: ExchangeRecord.Kind) -> Double {
        (half == .dispatch ? dispatch : combine).p50Microseconds * 1e-6
    }
}
