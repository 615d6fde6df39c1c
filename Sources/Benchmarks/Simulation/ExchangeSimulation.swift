package import Serving
package import Topology

/// A dispatch and combine on a described cluster.
package protocol ExchangeSimulation {
    /// Takes options that were checked, and their links.
    init(_ options: SimulationOptions, _ links: LinkMap)

    /// Runs one dispatch and combine.
    func traced() throws -> TracedExchange
}

/// What an exchange came to, and what every rank did when.
package struct TracedExchange: Sendable {
    package let result: SimulationResult
    package let trace: JobTrace
}

extension ExchangeSimulation {
    /// Checks the options.
    ///
    /// - Throws: `SimulationError` or `TopologyError` with the option, its value and its limit.
    package init(_ options: SimulationOptions) throws {
        self.init(options, try options.links())
    }

    /// Runs one dispatch and combine, whose trace nobody wants.
    package func run() throws -> SimulationResult { try traced().result }
}
