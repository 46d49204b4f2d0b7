/** A request that has not arrived by then is cut off. */
const ARRIVAL_LIMIT_MS = 30_000;

/** Of every port that the API listens on. */
export const MAX_CONNECTIONS = 1000;
export const HTTP_BOUNDS = {
  requestTimeout: ARRIVAL_LIMIT_MS,
  headersTimeout: ARRIVAL_LIMIT_MS,
  connectionsCheckingInterval: 5000,
};
