import Collectives
import Foundation

/// What `apus bench all-to-all --json` measured of one setting.
package struct MeasuredExchange: Codable, Hashable, Sendable {
    package struct Half: Codable, Hashable, Sendable {
        /// Median and least over iterations, of the slowest rank of each.
        let p50Microseconds: Double, leastMicroseconds: Double
    }

    /// Rows that were not what brute force gives.
    package let wrong: Int
    let dispatch: Half
    let combine: Half

    package init(dispatchMicroseconds: Double, combineMicroseconds: Double) {
        wrong = 0
        (dispatch, combine) = (Half(dispatchMicroseconds), Half(combineMicroseconds))
    }

    /// - Throws: `DecodingError` for anything else.
    package init(json: String) throws {
        self = try JSONDecoder().decode(Self.self, from: Data(json.utf8))
    }

    /// The least dispatch and the least combine together.
    var leastSeconds: Double {
        (dispatch.leastMicroseconds + combine.leastMicroseconds) * 1e-6
    }

    func seconds(_ half: ExchangeRecord.Kind) -> Double {
        (half == .dispatch ? dispatch : combine).p50Microseconds * 1e-6
    }
}

extension MeasuredExchange.Half {
    /// Exchanges that all took the same.
    fileprivate init(_ microseconds: Double) {
        (p50Microseconds, leastMicroseconds) = (microseconds, microseconds)
    }
}
