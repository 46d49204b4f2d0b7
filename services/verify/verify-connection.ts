import { setTimeout as delay } from 'node:timers/promises';
import type { ConnectorShelf } from '../../connectors/registry.ts';
import type { DestinationView } from '../../connectors/spi/comparison.ts';
import type { Destination, DestinationStream } from '../../connectors/spi/destination.ts';
import type { Source } from '../../connectors/spi/source.ts';
import type { ErrorCode } from '../../core/errors/codes.ts';
import { PipelineError, toPipelineError } from '../../core/errors/pipeline-error.ts';
import type { Work } from '../../core/store/work.ts';
import { streamLabel } from '../../schemas/catalog/stream-id.ts';
