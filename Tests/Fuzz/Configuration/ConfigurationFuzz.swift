import Foundation
import FuzzSupport

@testable import Models

/// Feeds bytes to the reader of `config.json`.
///
/// Whatever the bytes: no trap, and a configuration that is taken has sizes that can be computed
/// with, and survives being written and read.
private func fuzzConfiguration(_ bytes: [UInt8]) {
    guard let configuration = try? ModelConfiguration.parse(Data(bytes), file: "f") else { return }
    precondition(configuration.parameterCounts.total >= configuration.parameterCounts.activated)
    precondition(configuration.cacheWidth > 0 && configuration.attentionScale > 0)
    do {
        let again = try ModelConfiguration.parse(configuration.encoded(), file: "f")
        precondition(again == configuration)
    } catch { preconditionFailure("\(error)") }
}

@main enum ConfigurationFuzz {
    static func main() { FuzzRun.main(fuzzConfiguration) }
}
