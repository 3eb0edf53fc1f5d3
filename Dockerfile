# The service with its page. Two plain stages: Node builds the page, Python serves it.

FROM node:24-slim AS page
WORKDIR /src/service/web
COPY service/web/package.json service/web/package-lock.json ./
RUN npm ci
COPY service/web ./
RUN npm run build

FROM python:3.13-slim
WORKDIR /src
COPY constraints.txt ./
COPY migrations migrations
COPY examples examples
COPY service service
COPY --from=page /src/service/src/gradvitals_service/static service/src/gradvitals_service/static
RUN pip install --no-cache-dir --constraint constraints.txt ./service \
 && useradd --create-home gradvitals
USER gradvitals
EXPOSE 8765
ENTRYPOINT ["gradvitals-service"]
CMD ["serve", "--host", "0.0.0.0"]
