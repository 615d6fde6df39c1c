import Collectives
import Testing
